"""Reading what Redis answers: RESP2 (Redis docs, "Redis serialization protocol specification").

redis-py's own parser of this protocol takes several times as long for a list of messages: it
makes a few calls for each of them. Where hiredis is installed, redis-py's connections use that,
and this is not needed.
"""

from __future__ import annotations

import select
import ssl
from collections.abc import Callable
from typing import Any

from redis import exceptions
from redis._parsers.base import AsyncBaseParser, BaseParser

CLOSED = "Connection closed by server."
INCOMPLETE: Any = object()
"""Stands for a reply of which there is more to come."""
BULK, ARRAY, INTEGER, STRING, ERROR = b"$*:+-"


class Replies:
    """The bytes received so far, and the replies in them. No I/O.

    ``error`` makes an exception of what an error reply says.
    """

    def __init__(self, error: Callable[[str], Exception]) -> None:
        self._error = error
        self._data = b""
        self._at = 0
        self._wanted = 0
        """How many bytes are needed to go on."""
        self._later: list[bytes] = []
        self._items: list[Any] | None = None
        """Of an array that has begun: each is read once, however long the whole is."""
        self._count = 0

    @property
    def unread(self) -> bool:
        """Whether something was received that nobody asked for."""
        return self._at < len(self._data) or bool(self._later) or self._items is not None

    def feed(self, chunk: bytes) -> None:
        """Add what was received."""
        self._later.append(chunk)
        if self._at == len(self._data) and len(self._later) == 1:
            self._data, self._at, self._later = chunk, 0, []
        elif len(self._data) - self._at + sum(map(len, self._later)) >= self._wanted:
            self._data = b"".join([self._data[self._at :], *self._later])
            self._at, self._later = 0, []

    def next(self) -> Any:
        """Return the next reply, or INCOMPLETE. An error reply is a redis-py exception."""
        if self._later:
            return INCOMPLETE
        if self._items is None:
            if self._data[self._at : self._at + 1] != b"*":
                return self._one()
            count = self._line()
            if count is INCOMPLETE or int(count) < 0:
                return None if count is not INCOMPLETE else count
            self._items, self._count = [], int(count)
        items, one = self._items, self._one
        while len(items) < self._count:
            item = one()
            if item is INCOMPLETE:
                return item
            items.append(item)
        self._items = None
        return items

    def _one(self) -> Any:
        """Return the value that begins here, or INCOMPLETE and stay."""
        data, start = self._data, self._at
        end = data.find(b"\r\n", start)
        if end < 0:
            self._wanted = 0
            return INCOMPLETE
        kind = data[start] if start < len(data) else 0
        self._at = end + 2
        if kind == BULK:
            if data[start + 1] == 45:  # a minus: there is no value
                return None
            first = end + 2
            last = first + int(data[start + 1 : end])
            if last + 2 > len(data):
                self._at, self._wanted = start, last + 2 - start
                return INCOMPLETE
            self._at = last + 2
            return data[first:last]
        return self._other(kind, data[start + 1 : end], start)

    def _other(self, kind: int, line: bytes, start: int) -> Any:
        if kind == INTEGER:
            return int(line)
        if kind == STRING:
            return line
        if kind == ERROR:
            return self._error(line.decode(errors="replace"))
        if kind != ARRAY:
            raise exceptions.InvalidResponse(f"Protocol Error: {line!r}")
        items: list[Any] | None = None if line[:1] == b"-" else []
        while items is not None and len(items) < int(line):
            item = self._one()
            if item is INCOMPLETE:
                self._at = start
                return item
            items.append(item)
        return items

    def _line(self) -> Any:
        """Return the rest of the line after its first byte, or INCOMPLETE and stay."""
        end = self._data.find(b"\r\n", self._at)
        if end < 0:
            self._wanted = 0
            return INCOMPLETE
        line, self._at = self._data[self._at + 1 : end], end + 2
        return line


class Reader(BaseParser):
    """A connection's parser, by redis-py's ``parser_class``."""

    def __init__(self, socket_read_size: int) -> None:
        self._size = socket_read_size
        self._replies = Replies(self.parse_error)
        self._socket: Any = None

    def on_connect(self, connection: Any) -> None:
        """Read from the connection's new socket."""
        self._replies = Replies(self.parse_error)
        self._socket = connection._sock  # noqa: SLF001 - what parsers are given it for
        self._readable = select.poll()
        self._readable.register(self._socket.fileno(), select.POLLIN)

    def on_disconnect(self) -> None:
        """Read no more."""
        self._socket = None

    def can_read(self, timeout: float = 0) -> bool:
        """Say whether there is anything to be read, be it the end of the connection."""
        if self._replies.unread:
            return True
        if self._socket is None:
            raise exceptions.ConnectionError(CLOSED)
        if not self._readable.poll(timeout * 1000):
            return False
        self._socket.settimeout(0)
        try:  # TLS has things of its own to say
            self._replies.feed(self._socket.recv(self._size))
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError:
            return True
        return True

    def read_response(self, **_: Any) -> Any:
        """Return a reply, never decoded; raise what the server says of the connection itself."""
        replies = self._replies
        while (reply := replies.next()) is INCOMPLETE:
            self._socket.settimeout(None)
            chunk = self._socket.recv(self._size)
            if not chunk:
                raise exceptions.ConnectionError(CLOSED)
            replies.feed(chunk)
        return _raised(reply)


class AsyncReader(AsyncBaseParser):
    """`Reader` for redis.asyncio."""

    def __init__(self, socket_read_size: int) -> None:
        super().__init__(socket_read_size)
        self._size = socket_read_size
        self._replies = Replies(self.parse_error)

    def on_connect(self, connection: Any) -> None:
        """Read from the connection's new stream."""
        self._stream = connection._reader  # noqa: SLF001 - what parsers are given it for
        self._replies = Replies(self.parse_error)
        self._connected = True

    def on_disconnect(self) -> None:
        """Read no more."""
        self._connected = False

    async def can_read_destructive(self) -> bool:
        """Do as `can_read`, which is its name since redis-py 8."""
        return not self.is_quiet()

    async def can_read(self) -> bool:
        """Say whether there is anything to be read, be it the end of the connection."""
        return not self.is_quiet()

    def is_quiet(self) -> bool:
        """Say whether nothing was received that nobody asked for, not even the end."""
        stream: Any = self._stream
        received = stream._buffer or stream.at_eof() or stream.exception()  # noqa: SLF001 - asyncio has no other way to ask
        return self._connected and not self._replies.unread and not received

    async def read_response(self, **_: Any) -> Any:  # type: ignore[override] # as it is called
        """Return a reply, never decoded; raise what the server says of the connection itself."""
        replies = self._replies
        stream: Any = self._stream
        while (reply := replies.next()) is INCOMPLETE:
            chunk = await stream.read(self._size)
            if not chunk:
                raise exceptions.ConnectionError(CLOSED)
            replies.feed(chunk)
        return _raised(reply)


def _raised(reply: Any) -> Any:
    """Return the reply, unless redis-py takes what it says for the end of the connection."""
    if isinstance(reply, exceptions.ConnectionError):
        raise reply
    return reply
