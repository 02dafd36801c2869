"""The servers that are timed: cells of matrix.toml, without any fault."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from harness.backends import backend
from harness.matrix import load
from harness.providers import provide

CELLS = {
    "redis": "redis7_aof_everysec_noeviction",
    "postgres": "postgres16_durable_lazy_read_committed",
}
"""What the vendors advise for data that matters: fsync each second, and at each commit."""


@contextmanager
def running(backend_name: str) -> Iterator[str]:
    """Start the backend's cell, yield its URL, remove it. Raises NotRunError and StartError."""
    matrix = load()
    cell = matrix.cell(os.environ.get("BENCH_CELL") or CELLS[backend_name])
    server = provide(cell, backend(cell.backend), "auto", matrix.registry)
    try:
        server.start()
        yield server.url
    finally:
        server.remove()
