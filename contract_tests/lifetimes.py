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


def expiry(inspector: Inspector, session_id: str) -> Span | None:
    """Return when the session will expire, None for never. Raises KeyError where there is none."""
    start = monotonic()
    left = inspector.ttl(session_id)
    return None if left is None else Span(start + left, monotonic() + left)


def assert_lives(
    inspector: Inspector, session_id: str, seconds: float, since: Span, *, slack: float = SLACK
) -> None:
    """Fail unless the session expires so many seconds after something happened."""
    fault = misses(expiry(inspector, session_id), seconds, since, slack=slack)
    assert fault is None, f"{session_id!r} {fault}"


def misses(
    ends: Span | None, seconds: float | None, since: Span, *, slack: float = SLACK
) -> str | None:
    """Tell how far an expiry is from so many seconds after something happened; None if it is not.

    However slow the machine, a right TTL passes: the bounds only widen.
    """
    if seconds is None:
        return None if ends is None else "expires, though it was to live for ever"
    if ends is None:
        return "has lost its TTL, and lives for ever"
    early, late = ends.end - since.start - seconds, ends.start - since.end - seconds
    if early < -slack:
        return f"expires {-early:.3f} s too early"
    return f"expires {late:.3f} s too late" if late > slack else None
