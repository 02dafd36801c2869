"""Stopping all processes of a server at once: frozen, none does anything any more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil


def freeze(pid: int) -> None:
    """Stop a process and its descendants with SIGSTOP. They can still be killed.

    The process first: stopped, it has no more children than those that are there.
    """
    server = psutil.Process(pid)
    server.suspend()
    for process in server.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            process.suspend()


def thaw(pid: int) -> None:
    """Let a frozen process and its descendants go on."""
    with suppress(psutil.NoSuchProcess):
        server = psutil.Process(pid)
        for process in (*server.children(recursive=True), server):
            with suppress(psutil.NoSuchProcess):
                process.resume()


@contextmanager
def paused(pid: int) -> Iterator[None]:
    """Freeze a server in the block: it accepts connections, and answers nobody."""
    try:
        freeze(pid)
        yield
    finally:
        thaw(pid)
