"""A tenant of a Redis: its keys all begin with the namespaces of its run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlsplit

from redis import Redis, exceptions

from harness.backends.tenants import MARKER, TenantError

NEEDED = 64 * 1024**2
"""Bytes: what a run has at most, doubled. A server with less left would evict keys of others."""
PATIENCE = 10.0


class RedisTenant:
    """`harness.backends.tenants.Tenant` for Redis."""

    def __init__(self, url: str) -> None:
        self._url = url

    def marked(self) -> bool:
        with self._connected() as client:
            return bool(client.exists(MARKER))

    def mark(self) -> None:
        with self._connected() as client:
            client.set(MARKER, "yes")

    def marking(self) -> str:
        parts = urlsplit(self._url)
        number = parts.path.strip("/")
        words = ["redis-cli", "-h", parts.hostname or "", "-p", str(parts.port)]
        words += ["--tls"] if self.encrypted() else []
        words += ["-n", number] if number not in {"", "0"} else []
        return " ".join([*words, "SET", MARKER, "yes"])

    def unfit(self) -> str | None:
        with self._connected() as client:
            if client.info("replication")["role"] != "master":
                return "it is a replica, and takes no writes"
            memory = client.info("memory")
        left = memory["maxmemory"] - memory["used_memory"]
        if memory["maxmemory"] and left < NEEDED:
            return (
                f"its maxmemory leaves {left // 1024**2} MB; with less than {NEEDED // 1024**2} MB "
                "it might evict keys of others, or refuse writes"
            )
        return None

    def encrypted(self) -> bool:
        return self._url.startswith("rediss:")

    def move_in(self) -> str:
        return self._url  # every key has its namespace

    def move_out(self) -> None:
        """Each contract deletes its keys."""

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        limits = {"socket_timeout": PATIENCE, "socket_connect_timeout": PATIENCE}
        try:
            with closing(Redis.from_url(self._url, **limits, decode_responses=True)) as client:
                yield client
        except exceptions.RedisError as error:
            raise TenantError(str(error)) from error
