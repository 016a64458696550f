"""SSH tunnel to the dashboards of a board."""
