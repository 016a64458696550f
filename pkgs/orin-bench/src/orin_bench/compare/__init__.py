"""bench-report: two results of one benchmark, and whether the second is slower."""
