"""The store's own connections, made as a client's are but for what endangers its promises.

A `redis.Redis` tries each command and each connect up to ten times again, and gives every
connect and every piece of a reply a timeout of its own. So a client given to a store tells
where to connect, as whom and how many times at most (`stores.redis.clients`), and the store
makes its own connections there, which end in time.
"""

from __future__ import annotations

import asyncio
import math
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from queue import Empty
from time import monotonic
from typing import Any

import redis
import redis.asyncio
from redis import exceptions

from stores.redis.driver import UNNAMED, is_connected
from stores.redis.routing import POOL_EXHAUSTED

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


LIMIT = threading.local()
"""``deadline``: time.monotonic() by which the thread's call must have a connection."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How to connect, as a client does; ``replicas`` False refuses servers that are replicas."""

    connection_class: Any
    max_connections: int
    arguments: Mapping[str, Any]
    replicas: bool = True

    @classmethod
    def of(cls, pool: Any) -> Settings:
        """Return the settings of a pool's connections."""
        return cls(pool.connection_class, pool.max_connections, pool.connection_kwargs)

    def at(self, host: str, port: int) -> Settings:
        """Return the same for another server."""
        return replace(self, arguments={**self.arguments, "host": host, "port": port})

    def of_pool(self, mixin: type, timeout: float) -> dict[str, Any]:
        """Return the arguments of a pool.

        Waiting for a free connection may take a quarter of the timeout, and making one another,
        so that a server that cannot be reached is given up with time left for one more try.
        """
        kept = {name: value for name, value in self.arguments.items() if name not in OF_THE_POOL}
        return kept | {
            "connection_class": _mixed(mixin, self.connection_class, self.replicas),
            "max_connections": min(self.max_connections, MOST_CONNECTIONS),
            "timeout": timeout / 4,
            "socket_connect_timeout": timeout / 4,
            # What is sent and received is bounded by the call's deadline, each call as a whole.
            "socket_timeout": None,
            "health_check_interval": 0,
            # Retries are the store's own: only what is safe to repeat, and within the timeout.
            "retry": None,
            "retry_on_timeout": False,
            "retry_on_error": [],
            "protocol": 2,
            **UNNAMED,
        }


def own_pool(settings: Settings, timeout: float) -> redis.BlockingConnectionPool:
    """Return a pool of connections for a store with this timeout in seconds."""
    kind: Any = _Pool  # the driver's own has no types
    own: redis.BlockingConnectionPool = kind(**settings.of_pool(_Timely, timeout))
    return own


def own_async_pool(settings: Settings, timeout: float) -> AsyncPool:
    """`own_pool` for `redis.asyncio`, to be used in one event loop."""
    return AsyncPool(**settings.of_pool(_TimelyAsync, timeout))


class _Pool(redis.BlockingConnectionPool):
    """A pool in which nobody waits longer than until their call's deadline.

    It lends as the driver's own does, but for telemetry, which takes longer than all the rest.
    """

    def get_connection(self, *_: Any, **__: Any) -> Any:
        self._checkpid()
        try:
            connection = self.pool.get(block=True, timeout=self.timeout)
        except Empty as error:
            raise exceptions.ConnectionError(POOL_EXHAUSTED) from error
        try:
            connection = connection or self.make_connection()  # type: ignore[no-untyped-call]
            if not connection.is_ready():
                connection.disconnect()
                connection.connect()
        except BaseException:
            self.release(connection)
            raise
        return connection

    def release(self, connection: Any) -> None:
        self._checkpid()
        if connection is None or self.owns_connection(connection):
            self.pool.put_nowait(connection)
        else:  # of the process before a fork
            connection.disconnect()
            self.pool.put_nowait(None)

    @property
    def timeout(self) -> float:
        return max(0.001, min(self._longest_wait, _deadline() - monotonic()))

    @timeout.setter
    def timeout(self, seconds: float) -> None:
        self._longest_wait = seconds


class AsyncPool(redis.asyncio.BlockingConnectionPool):
    """`_Pool` for `redis.asyncio`. Whoever waits gets a connection in the order of asking."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._permits = asyncio.Semaphore(self.max_connections)

    async def lend(self, deadline: float) -> Any:
        """Return a connection by the deadline (time.monotonic). Raises TimeoutError too."""
        if self._available_connections and not self._permits.locked():
            await self._permits.acquire()  # at once, and so is what follows
            connection, ready = self._next(), False
            try:
                ready = await connection.is_ready()
            finally:  # before redis-py 8 it may be cancelled there
                if not ready:
                    await self.release(connection)
            if ready:
                return connection
        async with asyncio.timeout(max(0.001, deadline - monotonic())):
            return await self.get_connection()

    async def get_connection(self, *_: Any, **__: Any) -> Any:
        try:
            async with asyncio.timeout(self.timeout):
                await self._permits.acquire()
        except TimeoutError as error:
            raise exceptions.ConnectionError(POOL_EXHAUSTED) from error
        connection = None
        try:
            connection = self._next()
            if not await connection.is_ready():
                await connection.disconnect()
                await connection.connect()
        except BaseException:
            await self.release(connection)
            raise
        return connection

    def _next(self) -> Any:
        return self.get_available_connection()  # type: ignore[no-untyped-call] # of the driver

    async def release(self, connection: Any) -> None:
        if connection is not None:
            self._in_use_connections.remove(connection)
            self._available_connections.append(connection)
        self._permits.release()


def _deadline() -> float:
    return getattr(LIMIT, "deadline", math.inf)


class _Timely:
    """Mixin of a connection whose sending and receiving all end at its ``deadline``."""

    deadline: float
    hello: tuple[str, ...]
    socket_timeout: float
    socket_connect_timeout: float

    def connect(self: Any) -> None:
        """Connect, log in and be answered within the one connect timeout.

        What accepts connections may be a proxy with no server behind it. A call that is sent
        into one that was never answered could not tell whether it was applied.
        """
        if is_connected(self):
            return
        longest = self.socket_connect_timeout
        self.deadline = min(monotonic() + longest, _deadline())
        self.socket_connect_timeout = max(0.001, self.deadline - monotonic())
        try:
            super().connect()  # type: ignore[misc] # of the class that this is mixed into
            self.send_command(*self.hello, check_health=False)
            with suppress(exceptions.ResponseError):
                check_role(self.read_response(disable_decoding=True))
        except BaseException:
            self.disconnect()
            raise
        finally:
            self.socket_connect_timeout = longest

    def is_ready(self: Any) -> bool:
        """Say whether it is connected, and nothing is to be read there, not even its end."""
        try:
            return is_connected(self) and not self.can_read()
        except (exceptions.RedisError, OSError):
            return False

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
        for_replies, self.socket_timeout = self.socket_timeout, self.socket_connect_timeout
        try:
            async with asyncio.timeout(self.socket_connect_timeout):
                await super().connect()  # type: ignore[misc] # of the class this is mixed into
                await self.send_command(*self.hello, check_health=False)
                with suppress(exceptions.ResponseError):
                    check_role(await self.read_response(disable_decoding=True))
        except BaseException:
            # Cancelled half-way it would count as connected.
            await self.disconnect(nowait=True)
            raise
        finally:
            self.socket_timeout = for_replies

    async def is_ready(self: Any) -> bool:
        """See `_Timely.is_ready`."""
        try:
            # Before redis-py 8 it has another name.
            look = getattr(self, "can_read", None) or self.can_read_destructive
            return self.is_connected and not await look()
        except (exceptions.RedisError, OSError):
            return False


def check_role(reply: Any) -> None:
    """Raise ConnectionError if a server answers ROLE as a replica does.

    A primary that was replaced has closed its connections; a new one there would read what is
    old. Redis docs, "Guidelines for Redis clients with support for Redis Sentinel".
    """
    if isinstance(reply, list) and reply[0] != b"master":
        raise exceptions.ConnectionError("READONLY the server is a replica")


@cache
def _mixed(mixin: type, connection_class: type, replicas: bool) -> type:  # noqa: FBT001 - a key
    greeting = {"hello": ("PING",) if replicas else ("ROLE",)}
    return type(f"Timely{connection_class.__name__}", (mixin, connection_class), greeting)
