"""What a network can do to a connection, one fault a class, apart from how bytes get about."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Literal, Protocol

Then = Literal["reset", "silence"]


class Link(Protocol):
    """A client's connection with the connection to the server behind it."""

    def reset(self) -> None:
        """End both with a TCP reset."""

    def give(self, chunk: bytes) -> None:
        """Send bytes to the client at once."""

    def tell(self, chunk: bytes) -> None:
        """Send bytes to the server at once."""


class Fault:
    """A network without fault. Each hook may wait, change the bytes, or reset the link."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    async def connection(self, link: Link) -> None:
        """See a client connect, before the server is dialled."""

    async def request(self, link: Link, chunk: bytes) -> bytes:
        """Return what the server gets of a chunk from the client."""
        return chunk

    async def reply(self, link: Link, chunk: bytes) -> bytes:
        """Return what the client gets of a chunk from the server."""
        return chunk

    async def _hold(self, link: Link) -> bytes:
        """Let nothing through for as long as the fault lasts. A stream with a hole is over then."""
        await self.ended.wait()
        link.reset()
        return b""


class Reset(Fault):
    """Every connection is reset as soon as it is made or used."""

    async def connection(self, link: Link) -> None:
        link.reset()

    async def request(self, link: Link, chunk: bytes) -> bytes:
        link.reset()
        return b""


class Blackhole(Fault):
    """Connections stay open, and nothing gets through either way."""

    async def connection(self, link: Link) -> None:
        await self._hold(link)

    async def request(self, link: Link, chunk: bytes) -> bytes:
        return await self._hold(link)

    async def reply(self, link: Link, chunk: bytes) -> bytes:
        return await self._hold(link)


class Delay(Fault):
    """Every reply comes so many seconds late, but not later than the end of the fault."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    async def reply(self, link: Link, chunk: bytes) -> bytes:
        with suppress(TimeoutError):
            await asyncio.wait_for(self.ended.wait(), self._seconds)
        return chunk


class Drip(Fault):
    """Replies come byte by byte, one every so many seconds, until the fault ends."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    async def reply(self, link: Link, chunk: bytes) -> bytes:
        for place in range(len(chunk)):
            with suppress(TimeoutError):
                await asyncio.wait_for(self.ended.wait(), self._seconds)
                return chunk[place:]
            link.give(chunk[place : place + 1])
        return b""


class CutReply(Fault):
    """The server executes the next request, and of its reply only a share arrives."""

    def __init__(self, share: float, then: Then) -> None:
        super().__init__()
        self._share = share
        self._then = then
        self._done = False

    async def reply(self, link: Link, chunk: bytes) -> bytes:
        if self._done:
            return chunk
        self._done = True
        link.give(chunk[: int(len(chunk) * self._share)])
        if self._then == "silence":
            return await self._hold(link)
        link.reset()
        return b""


class CutAfter(Fault):
    """So many requests are executed, all connections together; the last one's reply is lost."""

    def __init__(self, requests: int) -> None:
        super().__init__()
        self._left = requests

    async def connection(self, link: Link) -> None:
        if self._left == 0:
            link.reset()

    async def request(self, link: Link, chunk: bytes) -> bytes:
        if self._left == 0:
            link.reset()
            return b""
        self._left -= 1
        return chunk

    async def reply(self, link: Link, chunk: bytes) -> bytes:
        if self._left == 0:
            link.reset()
            return b""
        return chunk
