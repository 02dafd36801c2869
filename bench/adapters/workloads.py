"""What is timed: operations, on sessions of a length, with values of a size."""

from __future__ import annotations

from dataclasses import dataclass

CLIENTS = (1, 8, 64)
SHORT, LONG = 100, 100_000
SMALL, BIG = 100, 10_000
NEWEST = 20
"""Messages that a read of the history asks for."""
TTL_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Workload:
    """One operation. ``size`` is of a message's or a context's text, in bytes.

    ``length`` is how many messages the session has at the start.
    """

    operation: str
    size: int = SMALL
    length: int = 0

    @property
    def name(self) -> str:
        """As the page calls it."""
        size = "10 KB" if self.size == BIG else "100 B"
        behind = f", {self.length:,} messages" if self.length else ""
        return f"{self.operation}, {size}{behind}".replace(",000", " 000")

    @property
    def session(self) -> str:
        """The name of its sessions; writers to short ones add a number to have one each."""
        operation = "history" if self.shared else self.operation
        return f"{operation}-{self.size}-{self.length}"

    @property
    def shared(self) -> bool:
        """Whether all use one session: those who read, and who write to the long one in turns."""
        return self.operation == "history" or self.length == LONG


WORKLOADS = (
    Workload("append", SMALL),
    Workload("append", BIG),
    Workload("append", SMALL, LONG),
    Workload("history", SMALL, SHORT),
    Workload("history", SMALL, LONG),
    Workload("history", BIG, SHORT),
    Workload("save", SMALL),
    Workload("save", BIG),
    Workload("load", SMALL),
    Workload("load", BIG),
    Workload("update", SMALL),
    Workload("lock", SMALL),
)
FLAT = (
    (Workload("append", SMALL), Workload("append", SMALL, LONG)),
    (Workload("history", SMALL, SHORT), Workload("history", SMALL, LONG)),
)
"""Pairs that should be equally fast: they differ in the length of the history alone."""


def text(size: int) -> str:
    """Return text of so many bytes."""
    return ("the quick brown fox jumps over the lazy dog " * (size // 44 + 1))[:size]
