"""`nox -s bench`: how fast the matrix and the adapters are, beside their limits and their peers."""

from __future__ import annotations


class BrokenError(Exception):
    """What was to be timed does not work. The text says what it printed."""
