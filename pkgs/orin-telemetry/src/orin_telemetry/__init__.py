"""What a Jetson board tells about itself: exporter, terminal monitor and simulator."""
