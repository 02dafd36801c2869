"""What turns matrix.toml into running servers and a report."""
