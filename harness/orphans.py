"""Ending with one's parent: a run whose nox was killed must not go on by itself."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

PARENT_VARIABLE = "MATRIX_PARENT"
"""The environment variable with the pid of the process that must outlive this one."""
WATCH_SECONDS = 0.2


def end_with_parent(end: Callable[[], None] | None = None) -> None:
    """End this process, as SIGTERM does, once the parent that the environment names is gone.

    Does nothing where it names none: whoever starts pytest by hand may leave it alone.
    """
    parent = int(os.environ.get(PARENT_VARIABLE, "0"))
    if parent:
        threading.Thread(target=_watch, args=(parent, end or _terminate), daemon=True).start()


def _watch(parent: int, end: Callable[[], None]) -> None:
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    end()


def _terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
