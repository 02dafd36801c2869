"""Where a proxy listens: one address for one server, or one for each server of a group."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from urllib.parse import urlsplit

Address = tuple[str, int]
Serve = Callable[["Door", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

TOLD = re.compile(rb"(127\.0\.0\.1(?::|\r\n:|\r\n\$5\r\n))(\d{5})(?=\D)")
"""Redis servers of each other: MOVED, ASK, CLUSTER NODES; CLUSTER SLOTS; a Sentinel."""


class Door:
    """An address of its own before a server's, which is asked for at each connect.

    Bound for good, so that nobody else gets it while nobody listens there.
    """

    def __init__(self, upstream: Callable[[], Address]) -> None:
        self.upstream = upstream
        self._listener: asyncio.Server | None = None
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.bind(("127.0.0.1", 0))
        self.address: Address = self._reserved.getsockname()

    def __str__(self) -> str:
        host, port = self.address
        return f"{host}:{port}"

    async def open(self, serve: Serve) -> None:
        """Listen."""
        self._listener = await asyncio.start_server(
            lambda reader, writer: serve(self, reader, writer), *self.address
        )

    def shut(self) -> None:
        """Refuse whoever comes."""
        if self._listener is not None:
            self._listener.close()

    def release(self) -> None:
        """Give the address back."""
        self._reserved.close()


def address_of(url: str) -> Address:
    """Return host and port of a URL."""
    parts = urlsplit(url)
    if not parts.hostname or not parts.port:
        raise ValueError("the URL names no host and port")  # not shown: it holds a password
    return parts.hostname, parts.port


def addresses_of(url: str) -> list[Address]:
    """Return the hosts and ports of a group's URL."""
    _, _, hosts = urlsplit(url).netloc.rpartition("@")
    return [address_of(f"//{host}") for host in hosts.split(",")]


def doors_of(group: Iterable[Address]) -> dict[Address, Door]:
    """Return a door before each server of a group, by the server's address."""
    return {address: Door(partial(_same, address)) for address in group}


def _same(address: Address) -> Address:
    return address


def with_doors(hosts: str, doors: Mapping[Address, Door]) -> str:
    """Return a URL's addresses with the doors' in place of those that they are before."""
    instead = {f"{host}:{port}": str(door) for (host, port), door in doors.items()}
    return ",".join(instead[host] for host in hosts.split(","))


def told_instead(chunk: bytes, doors: Mapping[Address, Door]) -> bytes:
    """Return what a server says with the doors' addresses in place of its group's.

    All ports have five digits, so that no length changes.
    """
    ports = {b"%d" % port: b"%d" % door.address[1] for (_, port), door in doors.items()}
    return TOLD.sub(lambda found: found[1] + ports.get(found[2], found[2]), chunk)
