"""Servers as somebody prepares them for the external provider: data of others, and a marker."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from redis import Redis

from harness.backends import backend
from harness.backends.tenants import tenant
from harness.faces import LoopThread
from harness.matrix import load
from harness.servers.embedded import EmbeddedServer
from stores import Message
from stores.postgres import PostgresStore

MATRIX = load()
REDIS = MATRIX.cell("redis6_aof_everysec_allkeys_lru")
POSTGRES = MATRIX.cell("postgres16_durable_swept_read_committed")
SSL_REQUEST = bytes.fromhex("0000000804d2162f")
"""How a client of Postgres asks for TLS (docs: "SSL Session Encryption")."""


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
        client.script_load("return 'of others'")
        client.acl_setuser("somebody", enabled=True, nopass=True, commands=["+get"])


def all_of_redis(url: str) -> Mapping[str, Any]:
    """Return all that others can see of a Redis: keys byte by byte, users, scripts, settings."""
    with Redis.from_url(url) as client:
        settings = client.config_get("*")
        return {
            "keys": {key: client.dump(key) for key in client.keys("*")},
            "expire": {key: client.ttl(key) > 0 for key in client.keys("*")},
            "users": client.acl_list(),
            "script": client.script_exists("ba4bdcb5fc4ea8d67d8a60b1bcd77f4b6a8ef84f"),
            "scripts": client.info("memory")["number_of_cached_scripts"],
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


class TlsFront:
    """A door before a server, behind which TLS ends: `url` leads through it."""

    def __init__(self, url: str, folder: Path) -> None:
        self._upstream = urlsplit(url)
        certificate, key = folder / "certificate.pem", folder / "key.pem"
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
                *("-subj", "/CN=localhost", "-keyout", str(key), "-out", str(certificate)),
            ],
            check=True,
            capture_output=True,
        )
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)
        self._loop = LoopThread()
        redis = self._upstream.scheme == "redis"
        self._served: set[asyncio.Task[None] | None] = set()
        self._server = self._loop.run(
            asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context if redis else None)
        )
        port = self._server.sockets[0].getsockname()[1]
        secrets = self._upstream.netloc.rpartition("@")[0]
        self.url = self._upstream._replace(
            scheme="rediss" if redis else self._upstream.scheme,
            netloc=f"{secrets}@127.0.0.1:{port}",
            query="ssl_cert_reqs=none" if redis else "sslmode=require",
        ).geturl()

    def close(self) -> None:
        """End it, once the clients have gone."""
        self._loop.run(self._end())
        self._loop.stop()

    async def _end(self) -> None:
        self._server.close()
        await asyncio.gather(*filter(None, self._served))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._served.add(asyncio.current_task())
        if self._upstream.scheme != "redis":
            if await reader.readexactly(len(SSL_REQUEST)) != SSL_REQUEST:
                return
            writer.write(b"S")
            await writer.start_tls(self._context)
        other_reader, other_writer = await asyncio.open_connection(
            self._upstream.hostname, self._upstream.port
        )
        await asyncio.gather(_copy(reader, other_writer), _copy(other_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(65536):
                writer.write(chunk)
                await writer.drain()
    finally:
        writer.close()
