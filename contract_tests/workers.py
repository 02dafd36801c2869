"""What contracts do in other processes: functions that a pool can import."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from harness.faces import LoopThread
from harness.opening import Opening
from stores.interface import MemoryStore


@contextmanager
def opened(opening: Opening) -> Iterator[MemoryStore]:
    """Open the store under test in this process, on a loop of its own if it is async."""
    loop = LoopThread()
    try:
        with opening.open(loop) as store:
            yield store
    finally:
        loop.stop()
