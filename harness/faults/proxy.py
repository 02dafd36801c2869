"""A TCP proxy that breaks connections on purpose, in the block of a `with`, on loopback only."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

from harness.faces import LoopThread
from harness.faults.doors import Address, Door, doors_of, told_instead, with_doors
from harness.faults.traffic import (
    Blackhole,
    CutAfter,
    CutReply,
    Delay,
    Drip,
    Fault,
    Reset,
    Then,
)

CHUNK = 65536
"""Longest piece that counts as one request; drivers write a command in one piece up to here."""


Result = TypeVar("Result")
Hook = Callable[["_Link", bytes], Awaitable[bytes]]


class FaultProxy:
    """Stands between a store and its server, and passes everything on until told otherwise.

    Its own address never changes. The server's is asked for at each connect, so that it may
    move. In front of a group there is a door to each member, and what members tell of each other
    leads through the doors. The modes are context managers, and each ends with its block. They
    can be combined.
    Connections that a fault has taken bytes from are reset when it ends.

    Attributes:
        connections: how many were accepted.
        requests: how many pieces came from clients, handshakes included.
    """

    def __init__(
        self,
        upstream: Callable[[], Address] | Sequence[Address],
        loop: LoopThread | None = None,
    ) -> None:
        """Stand before a server, or before each of a group, for which it gives the addresses."""
        self.connections = 0
        self.requests = 0
        self._group: dict[Address, Door] = {}
        if callable(upstream):
            self._doors = [Door(upstream)]
        else:
            self._group = doors_of(upstream)
            self._doors = [*self._group.values()]
        self._faults: list[Fault] = []
        self._links: set[_Link] = set()
        self._serving: set[asyncio.Task[None] | None] = set()
        self._closed = False
        self._loop = loop or LoopThread()
        self._owns_loop = loop is None
        self._run(self._listen())

    @property
    def open_links(self) -> int:
        """How many connections are open now."""
        return len(self._links)

    def url(self, url: str) -> str:
        """Return the URL with the proxy's host and port in place of the server's, or of each."""
        parts = urlsplit(url)
        user, at, hosts = parts.netloc.rpartition("@")
        doors = with_doors(hosts, self._group) if self._group else str(self._doors[0])
        return parts._replace(netloc=f"{user}{at}{doors}").geturl()

    @contextmanager
    def refuse(self) -> Iterator[None]:
        """Refuse new connections, and reset those there are, as a stopped server does."""
        self._run(self._deafen())
        try:
            yield
        finally:
            self._run(self._listen())

    @contextmanager
    def ignore(self) -> Iterator[None]:
        """Leave new connections unanswered, as if nobody were there, and reset those there are."""
        self._run(self._deafen())
        try:
            with ExitStack() as queue:
                for door in self._doors:
                    deaf = queue.enter_context(socket.socket())
                    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    deaf.bind(door.address)
                    deaf.listen(0)
                    # Once the queue of those whom nobody accepts is full, Linux answers no more.
                    with suppress(TimeoutError):
                        while True:
                            queue.enter_context(socket.create_connection(door.address, 0.01))
                yield
        finally:
            self._run(self._listen())

    def reset(self) -> AbstractContextManager[None]:
        """Reset the connections there are, and each new one once it is made."""
        return self._during(Reset, at_once=True)

    def blackhole(self) -> AbstractContextManager[None]:
        """Let nothing through, in either direction, and close nothing."""
        return self._during(Blackhole)

    def delay(self, seconds: float) -> AbstractContextManager[None]:
        """Hold each reply back for so long."""
        return self._during(partial(Delay, seconds))

    def drip(self, seconds: float) -> AbstractContextManager[None]:
        """Let replies through byte by byte, one every so many seconds."""
        return self._during(partial(Drip, seconds))

    def drop_next_reply(self, then: Then = "reset") -> AbstractContextManager[None]:
        """Lose the next reply after the server executed; then reset the connection or go mute."""
        return self._during(partial(CutReply, 0, then))

    def half_reply(self, then: Then = "silence") -> AbstractContextManager[None]:
        """Let half of the next reply through; then go mute or reset the connection."""
        return self._during(partial(CutReply, 0.5, then))

    def cut_after(self, requests: int) -> AbstractContextManager[None]:
        """Let the server execute so many requests more; the last one's reply is lost.

        From then on every connection is reset.
        """
        return self._during(partial(CutAfter, requests))

    def apply(self, make: Callable[[], Fault]) -> AbstractContextManager[None]:
        """Apply a fault of one's own kind to the connections there are and to new ones."""
        return self._during(make)

    def close(self) -> None:
        """Reset what is open and stop listening, once no fault lasts. Twice is fine."""
        if not self._closed:
            self._run(self._finish())
            self._closed = True
            if self._owns_loop:
                self._loop.stop()
            for door in self._doors:
                door.release()

    @contextmanager
    def _during(self, make: Callable[[], Fault], *, at_once: bool = False) -> Iterator[None]:
        fault = self._run(self._begin(make, at_once=at_once))
        try:
            yield
        finally:
            self._run(self._end(fault))

    def _run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        return self._loop.run(coroutine)

    async def _begin(self, make: Callable[[], Fault], *, at_once: bool) -> Fault:
        fault = make()
        self._faults.append(fault)
        if at_once:
            self._reset_links()
        return fault

    async def _end(self, fault: Fault) -> None:
        self._faults.remove(fault)
        fault.ended.set()

    async def _listen(self) -> None:
        for door in self._doors:
            await door.open(self._serve)

    async def _deafen(self) -> None:
        for door in self._doors:
            door.shut()
        self._reset_links()

    async def _finish(self) -> None:
        await self._deafen()
        for fault in self._faults:
            fault.ended.set()
        await asyncio.gather(*filter(None, self._serving))

    def _reset_links(self) -> None:
        for link in self._links:
            link.reset()

    async def _serve(
        self, door: Door, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.connections += 1
        link, task = _Link(reader, writer), asyncio.current_task()
        self._links.add(link)
        self._serving.add(task)
        try:
            with suppress(OSError):
                await self._connect(link, door)
        finally:
            await link.close()
            self._links.discard(link)
            self._serving.discard(task)

    async def _connect(self, link: _Link, door: Door) -> None:
        for fault in tuple(self._faults):
            await fault.connection(link)
        if link.is_closing():
            return
        try:
            reader, writer = await asyncio.open_connection(*door.upstream())
        except OSError:
            link.reset()
            return
        await link.join(reader, writer, self._request, self._reply)

    async def _request(self, link: _Link, chunk: bytes) -> bytes:
        self.requests += 1
        for fault in tuple(self._faults):
            chunk = await fault.request(link, chunk)
        return chunk

    async def _reply(self, link: _Link, chunk: bytes) -> bytes:
        if self._group:
            chunk = told_instead(chunk, self._group)
        for fault in tuple(self._faults):
            chunk = await fault.reply(link, chunk)
        return chunk


class _Link:
    """`harness.faults.traffic.Link`: the client's side first, the server's once it is dialled."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._client = reader, writer
        self._writers = [writer]

    async def join(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, there: Hook, back: Hook
    ) -> None:
        """Pass on what comes from either side, through its hook, until one of them ends."""
        self._writers.append(writer)
        await asyncio.gather(
            self._pump(self._client[0], writer, there),
            self._pump(reader, self._client[1], back),
        )

    def give(self, chunk: bytes) -> None:
        """Send bytes to the client at once."""
        self._client[1].write(chunk)

    def tell(self, chunk: bytes) -> None:
        """Send bytes to the server at once."""
        self._writers[-1].write(chunk)

    def is_closing(self) -> bool:
        """Tell whether the client's side is closed or being closed."""
        return self._client[1].is_closing()

    def reset(self) -> None:
        """End both sides with a TCP reset."""
        for writer in self._writers:
            if not writer.is_closing():
                # Without this, closing is a polite end unless something is left unread.
                linger = struct.pack("ii", 1, 0)
                transport_socket = writer.get_extra_info("socket")
                transport_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()

    async def close(self) -> None:
        """End both sides once what was written has gone out."""
        for writer in self._writers:
            writer.close()
        for writer in self._writers:
            with suppress(OSError):
                await writer.wait_closed()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hook: Hook
    ) -> None:
        try:
            while chunk := await reader.read(CHUNK):
                writer.write(await hook(self, chunk))
                await writer.drain()
        except ConnectionResetError:
            self.reset()  # a reset on one side is one on the other
        else:
            writer.close()
