"""`nox -s bench`: how fast the matrix and the adapters are, beside their limits and their peers."""
