"""Waiting for what a server does in its own time, without sleeping for a guess."""

from __future__ import annotations

import time
from collections.abc import Callable

POLL_SECONDS = 0.005


def eventually(check: Callable[[], object], within: float = 2.0) -> bool:
    """Poll until the check gives something true; tell whether it did within so many seconds."""
    deadline = time.monotonic() + within
    while not check():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True
