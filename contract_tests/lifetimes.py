"""Judging a session's raw TTL while time goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Self

from harness.inspectors import Inspector

SLACK = 0.005
"""Seconds by which clocks may seem to differ: servers round TTLs to milliseconds."""


@dataclass(frozen=True, slots=True)
class Span:
    """Something happened in here: not before ``start``, not after ``end`` (time.monotonic)."""

    start: float
    end: float

    @classmethod
    def of(cls, action: Callable[[], object]) -> Self:
        """Do it, and return when."""
        start = monotonic()
        action()
        return cls(start, monotonic())


def expiry(inspector: Inspector, session_id: str) -> Span:
    """Return when the session will expire. Fails where it has no TTL."""
    left: list[float | None] = []
    read = Span.of(lambda: left.append(inspector.ttl(session_id)))
    assert left[0] is not None, f"{session_id!r} has lost its TTL, and lives for ever"
    return Span(read.start + left[0], read.end + left[0])


def assert_lives(
    inspector: Inspector, session_id: str, seconds: float, since: Span, *, slack: float = SLACK
) -> None:
    """Fail unless the session expires so many seconds after that, whatever time it is now.

    However slow the machine, a right TTL passes: the bounds only widen.
    """
    ends = expiry(inspector, session_id)
    early, late = ends.end - since.start - seconds, ends.start - since.end - seconds
    assert early >= -slack, f"{session_id!r} expires {-early:.3f} s too early"
    assert late <= slack, f"{session_id!r} expires {late:.3f} s too late"
