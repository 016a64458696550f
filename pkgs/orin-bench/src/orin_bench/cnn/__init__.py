"""Five convolutional networks: bench-cnn."""
