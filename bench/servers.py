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


ROOM = {
    "redis": {"maxmemory": "0"},
    "postgres": {"max_connections": "300", "max_wal_size": "96MB"},
}
"""The cells are made to run full. Half of Postgres's disk is enough for its log here."""


@contextmanager
def running(backend_name: str, *, room: bool = False) -> Iterator[str]:
    """Start the backend's cell, yield its URL, remove it; with room for 100 000 messages.

    Raises NotRunError and StartError.
    """
    matrix = load()
    cell = matrix.cell(CELLS[backend_name])
    if room:
        cell = replace(cell, settings={**cell.settings, **ROOM[backend_name]})
    software = backend(cell.backend)
    server = provide(cell, software, "auto", matrix.registry)
    try:
        server.start()
        attest(cell, software, server)
        yield server.url
    finally:
        server.remove()
        software.close()
