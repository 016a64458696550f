"""What the pictures of a benchmark look like; matplotlib is imported here and nowhere else."""
