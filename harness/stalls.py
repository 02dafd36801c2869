"""How long a busy machine kept this process from running: what a limit on time must forgive."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

TICK_SECONDS = 0.005


@dataclass(slots=True)
class Stalls:
    """``seconds`` is how much later than it asked to a thread ran, in all, in the block."""

    seconds: float = 0.0


@contextmanager
def stalls() -> Iterator[Stalls]:
    """Measure, in the block, how long its threads had to wait for a processor."""
    found, ended = Stalls(), threading.Event()

    def tick() -> None:
        before = time.monotonic()
        while not ended.wait(TICK_SECONDS):
            now = time.monotonic()
            found.seconds += max(0.0, now - before - TICK_SECONDS)
            before = now

    thread = threading.Thread(target=tick, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()
