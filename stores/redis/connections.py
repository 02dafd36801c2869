"""The store's own connections, made as a client's are but for what endangers its promises.

A `redis.Redis` tries each command and each connect up to ten times again, and gives every
connect and every piece of a reply a timeout of its own. So a client given to a store tells
where to connect, as whom and how many times at most, and the store makes its own connections
there, which end in time.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import redis
import redis.asyncio
from redis.exceptions import ResponseError

OF_THE_POOL = (
    "connection_pool",
    "event_dispatcher",
    "himport_registry",
    "maint_notifications_config",
    "maint_notifications_pool_handler",
    "orig_host_address",
    "orig_socket_connect_timeout",
    "orig_socket_timeout",
    "oss_cluster_maint_notifications_handler",
)
"""What redis-py adds to the settings of a pool's connections, to reach that pool from them."""
MOST_CONNECTIONS = 1000
"""Where a client sets no limit. A blocking pool keeps a place for each."""


def own_pool(pool: redis.ConnectionPool, timeout: float) -> redis.BlockingConnectionPool:
    """Return a pool that connects as another does, each operation within ``timeout`` seconds."""
    kind: Any = redis.BlockingConnectionPool  # which has no types
    own: redis.BlockingConnectionPool = kind(**_settings(pool, _Timely, timeout))
    return own


def own_async_pool(
    pool: redis.asyncio.ConnectionPool, timeout: float
) -> redis.asyncio.BlockingConnectionPool:
    """`own_pool` for `redis.asyncio`, to be used in one event loop."""
    return redis.asyncio.BlockingConnectionPool(**_settings(pool, _TimelyAsync, timeout))


def pool_of_url(make: Callable[..., Any], url: str, max_connections: int) -> Any:
    """Return a pool that knows the URL's settings; raise ValueError where it cannot be parsed."""
    if not _is_sound(url):
        raise ValueError(
            "the URL must be redis://[[user]:password@]host[:port][/database] or rediss://…; "
            "is its password percent-encoded?"
        )
    return make(url, max_connections=max_connections)


def _is_sound(url: str) -> bool:
    """Tell whether redis-py would read the URL as meant.

    Its messages quote what stands where the port should be, which may be part of a password
    with a slash in it, and where the database's number should be it takes 0 for anything else.
    """
    try:
        parts = urlsplit(url)
        return parts.scheme == "unix" or (
            parts.scheme in {"redis", "rediss"}
            and parts.port != 0
            and not parts.fragment
            and re.fullmatch(r"/?\d*", parts.path) is not None
        )
    except ValueError:
        return False


def _settings(pool: Any, mixin: type, timeout: float) -> dict[str, Any]:
    """Return the settings of a pool like this one.

    Waiting for a free connection may take a quarter of the timeout, and making one another,
    so that a server that cannot be reached is given up with time left for one more try.
    """
    of_client = {k: v for k, v in pool.connection_kwargs.items() if k not in OF_THE_POOL}
    return of_client | {
        "connection_class": _mixed(mixin, pool.connection_class),
        "max_connections": min(pool.max_connections, MOST_CONNECTIONS),
        "timeout": timeout / 4,
        "socket_connect_timeout": timeout / 4,
        "socket_timeout": timeout,
        "health_check_interval": 0,
        # Retries are the store's own: only what is safe to repeat, and within the timeout.
        "retry": None,
        "retry_on_timeout": False,
        "retry_on_error": [],
        "protocol": 2,
        # CLIENT SETINFO would cost a round trip more for each connection.
        "driver_info": None,
    }


class _Timely:
    """Mixin of a connection whose sending and receiving all end at its ``deadline``."""

    deadline: float
    socket_timeout: float
    socket_connect_timeout: float

    def connect(self: Any) -> None:
        """Connect, log in and be answered within the one connect timeout.

        What accepts connections may be a proxy with no server behind it. A call that is sent
        into one that was never answered could not tell whether it was applied.
        """
        if self.is_connected:
            return
        self.deadline = monotonic() + self.socket_connect_timeout
        super().connect()  # type: ignore[misc] # of the class that this is mixed into
        self.send_command("PING", check_health=False)
        with suppress(ResponseError):
            self.read_response()

    def _connect(self: Any) -> Any:
        # A TLS handshake takes the timeout that is meant for replies.
        for_replies, self.socket_timeout = self.socket_timeout, self.socket_connect_timeout
        try:
            made = super()._connect()  # type: ignore[misc] # the same
        finally:
            self.socket_timeout = for_replies
        # What imitates a server within the process has no socket to wait for.
        return _TimelySocket(made, self) if isinstance(made, socket.socket) else made


class _TimelySocket:
    """A socket whose timeout bounds all that is received, and not each piece of it alone."""

    def __init__(self, inner: socket.socket, connection: _Timely) -> None:
        self._socket = inner
        self._connection = connection
        self._timeout: float | None = None

    def settimeout(self, seconds: float | None) -> None:
        self._timeout = seconds

    def recv(self, *args: Any) -> bytes:
        self._bound()
        return self._socket.recv(*args)

    def recv_into(self, *args: Any) -> int:
        self._bound()
        return self._socket.recv_into(*args)

    def sendall(self, *args: Any) -> None:
        self._bound()
        self._socket.sendall(*args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    def _bound(self) -> None:
        """Raise TimeoutError at the deadline. A timeout of 0 asks for what is there already."""
        left = self._connection.deadline - monotonic()
        if self._timeout is not None:
            left = min(left, self._timeout)
        if left <= 0 and self._timeout != 0:
            raise TimeoutError("timed out")
        self._socket.settimeout(max(0, left))


class _TimelyAsync:
    """Mixin of an async connection that connects in time, and wholly or not at all."""

    async def connect(self: Any) -> None:
        """See `_Timely.connect`."""
        if self.is_connected:
            return
        try:
            async with asyncio.timeout(self.socket_connect_timeout):
                await super().connect()  # type: ignore[misc] # of the class this is mixed into
                await self.send_command("PING", check_health=False)
                with suppress(ResponseError):
                    await self.read_response()
        except BaseException:
            # Cancelled half-way it would count as connected.
            await self.disconnect(nowait=True)
            raise


@cache
def _mixed(mixin: type, connection_class: type) -> type:
    return type(f"Timely{connection_class.__name__}", (mixin, connection_class), {})
