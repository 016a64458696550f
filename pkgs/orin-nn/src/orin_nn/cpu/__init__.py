"""Kernels for tinygrad's CPU device, in C: what its own code generator does not vectorize."""
