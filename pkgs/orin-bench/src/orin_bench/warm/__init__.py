"""Search the hottest kernels of a command first, within a time, and keep what is found."""
