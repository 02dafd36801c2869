"""Other ways to construct the stores than from a URL, as docs/stores.md tells their users.

Each is a factory like those of matrix.toml, named there as one of a store's `ways`.
"""
