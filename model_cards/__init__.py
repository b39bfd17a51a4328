"""Cards of the checkpoints, filled from committed metrics files."""
