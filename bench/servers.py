"""The servers that are timed: cells of matrix.toml, without any fault."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redis

from harness.attestation import attest
from harness.backends import backend
from harness.matrix import load
from harness.providers import provide

CELLS = {
    "redis": "redis7_aof_everysec_noeviction",
    "postgres": "postgres16_durable_lazy_read_committed",
}
"""As their vendors advise it for data that matters: synced each second, and at each commit."""


@contextmanager
def running(backend_name: str) -> Iterator[str]:
    """Start the backend's cell, yield its URL, remove it. Raises NotRunError and StartError."""
    matrix = load()
    cell = matrix.cell(CELLS[backend_name])
    software = backend(cell.backend)
    server = provide(cell, software, "auto", matrix.registry)
    try:
        server.start()
        attest(cell, software, server)
        if backend_name == "redis":
            with redis.Redis.from_url(server.url) as client:
                client.config_set("maxmemory", 0)  # the cells' own is made to run full
        yield server.url
    finally:
        server.remove()
        software.close()
