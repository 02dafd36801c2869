"""Servers as somebody prepares them for the external provider: data of others, and a marker."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha1
from typing import Any
from urllib.parse import urlsplit

import psycopg
from redis import Redis

from harness.backends import backend
from harness.backends.tenants import tenant
from harness.matrix import load
from harness.servers.embedded import EmbeddedServer
from stores import Message
from stores.postgres import PostgresStore

MATRIX = load()
REDIS = MATRIX.cell("redis6_aof_everysec_allkeys_lru")
POSTGRES = MATRIX.cell("postgres16_durable_swept_read_committed")


SCRIPT = "return 'of others'"


class Prepared:
    """A server of one cell, and what is on it."""

    def __init__(self, cell_id: str) -> None:
        self.cell = MATRIX.cell(cell_id)
        self.server = EmbeddedServer(self.cell, backend(self.cell.backend))

    @property
    def url(self) -> str:
        """The server's URL, with its password."""
        return self.server.url

    @property
    def password(self) -> str:
        """The password alone."""
        return urlsplit(self.url).password or ""

    def mark(self) -> None:
        """Say that it is disposable."""
        tenant(self.cell.backend, self.url).mark()


@contextmanager
def prepared(cell_id: str, *, marked: bool = True) -> Iterator[Prepared]:
    """Start a server that holds data of others."""
    one = Prepared(cell_id)
    try:
        one.server.start()
        if marked:
            one.mark()
        yield one
    finally:
        one.server.remove()


def settle_others_in_redis(url: str) -> None:
    """Put data of other applications there: all kinds of keys, a script, a user."""
    with Redis.from_url(url) as client:
        client.set("sessions", b"\x00\xff binary")
        client.set("expires", "in an hour", ex=3600)
        client.hset("{6:agents:user:1}:session", mapping={"n": 1, "m:1": "1:{}"})
        client.rpush("matrix-list", "a", "b")
        client.sadd("matrix:set", "a")
        client.xadd("stream", {"field": "value"})
        client.script_load(SCRIPT)
        client.acl_setuser("somebody", enabled=True, nopass=True, commands=["+get"])


def all_of_redis(url: str) -> Mapping[str, Any]:
    """Return all that others can see of a Redis: keys byte by byte, users, scripts, settings."""
    with Redis.from_url(url) as client:
        settings = client.config_get("*")
        return {
            "keys": {key: client.dump(key) for key in client.keys("*")},
            "expire": {key: client.ttl(key) > 0 for key in client.keys("*")},
            "users": client.acl_list(),
            "script": client.script_exists(sha1(SCRIPT.encode()).hexdigest()),  # noqa: S324 - Redis's own
            "settings": settings,
        }


def settle_others_in_postgres(url: str) -> None:
    """Put data of other applications there: tables, and sessions of agents, of the past too."""
    with PostgresStore.from_url(url, namespace="agents", ttl=0.001) as store:
        store.append_message("expired", Message("user", "swept by their owner alone"))
    with PostgresStore.from_url(url, namespace="agents") as store:
        store.append_message("user:1", Message("user", "my number is 555-0199"))
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE sessions AS SELECT n FROM generate_series(1, 9) AS n")


def all_of_postgres(server: EmbeddedServer) -> Mapping[str, Any]:
    """Return all that others can see of a Postgres: a dump of their data, databases, users."""
    with psycopg.connect(server.url) as connection:
        rows = connection.execute(
            "SELECT datname, datacl::text, shobj_description(oid, 'pg_database') FROM pg_database"
        ).fetchall()
        roles = connection.execute("SELECT rolname FROM pg_roles").fetchall()
        settings = connection.execute("SELECT name, setting FROM pg_settings").fetchall()
    dump = [line for line in server.run("pg_dump").splitlines() if b"restrict" not in line]
    return {"dump": dump, "databases": rows, "roles": roles, "settings": settings}
