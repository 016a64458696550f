"""Telemetry on a machine without a board."""
