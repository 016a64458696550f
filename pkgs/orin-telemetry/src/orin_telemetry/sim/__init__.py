"""A virtual Jetson AGX Orin 64GB: a model of the board, and the kernel files it would show."""
