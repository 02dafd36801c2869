"""Groups of servers on this machine, and a look at what each member holds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from redis import Redis

from harness.backends import Backend, backend
from harness.backends.redis import operators_client
from harness.matrix import Cell, load
from harness.providers import provide
from harness.servers.topology import Topology

KEY = "a key"


@dataclass
class Started:
    """A group that serves, and one value of it."""

    cell: Cell
    software: Backend
    server: Topology

    def put(self, value: str) -> None:
        """Store the value through the group's own URL."""
        _put(self.server.url, value)

    def got(self, url: str | None = None) -> str | None:
        """Return the value that a member has, or the group."""
        return _got(url or self.server.url)


@contextmanager
def started(cell_id: str, provider: str) -> Iterator[Started]:
    """Start a cell's group, and remove it at the end."""
    matrix = load()
    cell = matrix.cell(cell_id)
    software = backend(cell.backend)
    server = provide(cell, software, provider, matrix.registry)
    assert isinstance(server, Topology)
    try:
        server.start()
        if cell.backend == "postgres":
            with psycopg.connect(server.url) as connection:
                connection.execute("CREATE TABLE kept (key text PRIMARY KEY, value text)")
        yield Started(cell, software, server)
    finally:
        server.remove()


def _put(url: str, value: str) -> None:
    if url.startswith("postgresql"):
        with psycopg.connect(url) as connection:
            connection.execute(
                "INSERT INTO kept VALUES (%s, %s) "
                "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                [KEY, value],
            )
        return
    client = operators_client(url)
    try:
        client.set(KEY, value)
    finally:
        client.close()


def _got(url: str) -> str | None:
    if url.startswith("postgresql"):
        with psycopg.connect(url) as connection:
            row = connection.execute("SELECT value FROM kept WHERE key = %s", [KEY]).fetchone()
        return str(row[0]) if row else None
    client: Any = (
        Redis.from_url(url, single_connection_client=True)
        if url.startswith("redis:")
        else operators_client(url)
    )
    try:
        if url.startswith("redis:") and client.info("cluster")["cluster_enabled"]:
            client.readonly()
        value: bytes | None = client.get(KEY)
    finally:
        client.close()
    return value.decode() if value else None
