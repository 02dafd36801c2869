"""Promises: what an event may cost, and what breaks it."""

from __future__ import annotations

import pytest

from harness.promises import parse_promise


@pytest.mark.parametrize(
    ("promise", "lost", "seconds", "broken"),
    [
        ("keeps_all", 0, 0.0, False),
        ("keeps_all", 1, 0.001, True),
        ("loses_tail 2", 500, 1.9, False),
        ("loses_tail 2", 1, 2.1, True),
        ("loses_since_snapshot", 500, 600.0, False),
        ("loses_all", 500, 600.0, False),
    ],
)
def test_a_loss_is_held_against_its_promise(
    promise: str, lost: int, seconds: float, *, broken: bool
) -> None:
    """A tail is counted in seconds; a promise to keep all is broken by one message."""
    assert parse_promise("kill", promise, "here").broken_by(lost, seconds) is broken
