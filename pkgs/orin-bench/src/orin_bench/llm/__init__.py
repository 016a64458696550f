"""Language models that continue one text: a prompt read, and tokens generated one by one."""
