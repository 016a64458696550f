"""Power mode by name, pinned GPU clocks and a one-table view of a Jetson's tuning."""
