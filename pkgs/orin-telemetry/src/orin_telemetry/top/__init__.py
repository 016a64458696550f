"""jetson-top: the readings of a Jetson in a terminal."""
