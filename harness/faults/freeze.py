"""Stopping all processes of a server at once: frozen, none does anything any more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil


def freeze(pid: int) -> None:
    """Stop a process and its descendants with SIGSTOP. They can still be killed."""
    for process in _family(pid):
        with suppress(psutil.NoSuchProcess):
            process.suspend()


def thaw(pid: int) -> None:
    """Let a frozen process and its descendants go on."""
    with suppress(psutil.NoSuchProcess):
        for process in reversed(_family(pid)):
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


def _family(pid: int) -> list[psutil.Process]:
    server = psutil.Process(pid)
    return [server, *server.children(recursive=True)]
