"""The contracts: one suite for every store in every cell."""
