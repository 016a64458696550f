"""Benchmarks of tinygrad, written for the Jetson AGX Orin and run anywhere."""
