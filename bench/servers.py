"""The servers that are timed: cells of matrix.toml, without any fault."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from harness.attestation import attest
from harness.backends import backend
from harness.matrix import load
from harness.providers import provide

CELLS = {
    "redis": "redis7_aof_everysec_noeviction",
    "postgres": "postgres16_durable_lazy_read_committed",
}
"""As their vendors advise it for data that matters: synced each second, and at each commit."""


ROOM = {"redis": {"maxmemory": "0"}, "postgres": {"max_connections": "300"}}
"""The cells are made to run full."""
ORDINARY_DISK = {"power_cut": "its data is where containers have it, on no small disk"}


@contextmanager
def running(backend_name: str, *, room: bool = False) -> Iterator[str]:
    """Start the backend's cell, yield its URL, remove it; with room for 100 000 messages.

    Raises NotRunError and StartError.
    """
    matrix = load()
    cell = matrix.cell(CELLS[backend_name])
    if room:
        settings = {**cell.settings, **ROOM[backend_name]}
        cell = replace(cell, settings=settings, lacks={**cell.lacks, **ORDINARY_DISK})
    software = backend(cell.backend)
    server = provide(cell, software, "auto", matrix.registry)
    try:
        server.start()
        attest(cell, software, server)
        yield server.url
    finally:
        server.remove()
        software.close()
