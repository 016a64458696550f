"""bench-comprehensive and bench-mixed-precision: single operations under the roofline."""
