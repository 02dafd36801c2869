"""What the adapters do with older drivers, where this environment has newer ones."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Generator, Iterator
from queue import LifoQueue
from time import monotonic
from typing import Any

import psycopg
import pytest
from psycopg.waiting import Ready, Wait
from redis import exceptions

from stores.postgres import driver as postgres
from stores.redis import driver as redis
from stores.redis.connections import AsyncPool
from stores.redis.failures import text_of

SECONDS = 0.25


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a connection."""
    near, far = socket.socketpair()
    with near, far:
        near.settimeout(0)
        yield near, far


@pytest.fixture(params=[True, False], ids=["timeout", "interval"])
def timed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Both ways to wait; False is that of psycopg before 3.3.6."""
    monkeypatch.setattr(postgres, "_TIMED", request.param)
    return bool(request.param)


def answer(near: socket.socket) -> Generator[Wait, Ready | int, bytes]:
    """Wait for an answer, as psycopg's generators do."""
    while not (yield Wait.R):
        pass
    return near.recv(10)


def connected(near: socket.socket) -> Generator[tuple[int, Wait], Ready, bytes]:
    """`answer`, as a generator that connects."""
    while not (yield near.fileno(), Wait.R):
        pass
    return near.recv(10)


def waiting(near: socket.socket, way: str) -> bytes:
    """Wait in one of the four ways."""
    number = near.fileno()
    if way == "wait":
        return postgres.wait(answer(near), number, SECONDS)
    if way == "wait_conn":
        return postgres.wait_conn(connected(near), SECONDS)  # type: ignore[arg-type] # gives bytes
    if way == "wait_async":
        return asyncio.run(postgres.wait_async(answer(near), number, SECONDS))
    return asyncio.run(postgres.wait_conn_async(connected(near), SECONDS))  # type: ignore[arg-type] # the same


WAYS = ("wait", "wait_conn", "wait_async", "wait_conn_async")


@pytest.mark.usefixtures("timed")
@pytest.mark.parametrize("way", WAYS)
def test_waiting_ends_in_time(pair: tuple[socket.socket, socket.socket], way: str) -> None:
    """A server that says nothing is given up when the time is over, and not before."""
    began = monotonic()
    with pytest.raises(psycopg.OperationalError, match="timeout"):
        waiting(pair[0], way)
    assert SECONDS <= monotonic() - began < SECONDS + 1


@pytest.mark.usefixtures("timed")
@pytest.mark.parametrize("way", WAYS)
def test_waiting_gives_what_comes(pair: tuple[socket.socket, socket.socket], way: str) -> None:
    """An answer that comes after the first look for Ctrl-C is the result."""
    near, far = pair
    later = threading.Timer(0.12, far.send, [b"hello"])
    later.start()
    assert waiting(near, way) == b"hello"
    later.join()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (exceptions.ReadOnlyError("You can't write"), "READONLY You can't write"),
        (exceptions.MovedError("7 h:1"), "MOVED 7 h:1"),
        (exceptions.AskError("7 h:1"), "ASK 7 h:1"),
        (exceptions.MasterDownError("no link"), "MASTERDOWN no link"),
        (exceptions.BusyLoadingError("is loading"), "LOADING is loading"),
        (exceptions.ResponseError("MISCONF no disk"), "MISCONF no disk"),
        (exceptions.ReadOnlyError("You can't", status_code="READONLY"), "READONLY You can't"),
    ],
)
def test_the_code_that_a_driver_cuts_is_there_again(error: Exception, said: str) -> None:
    """Before 7.2 an exception's type is all that is left of the server's code."""
    assert text_of(error) == said


class OldConnection:
    """A blocking connection of redis-py before 8.0."""

    def __init__(self) -> None:
        self._sock: Any
        self._sock, self._server = socket.socketpair()

    def read_response(self, disable_decoding: bool = False) -> bytes:  # noqa: FBT001, FBT002 - the driver's
        assert disable_decoding
        try:
            return bytes(self._sock.recv(10))
        except TimeoutError as error:
            raise exceptions.TimeoutError("Timeout reading") from error

    def disconnect(self) -> None:
        self._sock.close()
        self._server.close()
        self._sock = None


def test_an_old_connection_reads_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its socket's timeout bounds what cannot be told how long to wait."""
    monkeypatch.setattr(redis, "_READING", {})
    connection = OldConnection()
    assert redis.is_connected(connection)
    began = monotonic()
    with pytest.raises(exceptions.TimeoutError):
        redis.read_reply(connection, SECONDS)
    assert SECONDS <= monotonic() - began < SECONDS + 1
    connection.disconnect()
    assert not redis.is_connected(connection)


def test_an_old_pool_closes_what_is_idle_alone() -> None:
    """What is in use goes on, and every place of the pool is still there."""

    class OldPool:
        pool: LifoQueue[OldConnection | None] = LifoQueue(3)

        def disconnect(self) -> None:
            raise AssertionError("it would close those in use too")

    pool, idle, used = OldPool(), OldConnection(), OldConnection()
    for place in (None, idle):
        pool.pool.put(place)
    redis.close_idle(pool)
    assert not redis.is_connected(idle)
    assert redis.is_connected(used)
    assert [pool.pool.get_nowait(), pool.pool.get_nowait()].count(idle) == 1
    assert pool.pool.empty()
    used.disconnect()


def test_a_connection_that_was_reset_is_not_written_to() -> None:
    """Whatever asyncio would make of that: the adapter gets an error that it knows."""

    class Writer:
        closing = False

        def is_closing(self) -> bool:
            return self.closing

    class Connection:
        _writer: Writer | None = Writer()

    connection = Connection()
    redis.check_open(connection)
    for writer in (Writer(), None):
        if writer:
            writer.closing = True
        connection._writer = writer
        with pytest.raises(exceptions.ConnectionError, match="closed"):
            redis.check_open(connection)


def test_a_connection_that_is_looked_at_is_given_back_by_a_cancelled_task() -> None:
    """Before redis-py 8 looking takes a turn of the loop, in which the task may be cancelled."""

    class Slow:
        looks = 0

        async def is_ready(self) -> bool:
            self.looks += 1
            await asyncio.sleep(0)
            return True

    async def cancel_the_look() -> None:
        pool = AsyncPool(max_connections=1, timeout=1)
        connection = Slow()
        pool._available_connections.append(connection)  # type: ignore[arg-type] # it has what is used
        lending = asyncio.ensure_future(pool.lend(monotonic() + 1))
        await asyncio.sleep(0)
        lending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await lending
        assert connection.looks == 1
        assert await pool.lend(monotonic() + 1) is connection

    asyncio.run(cancel_the_look())
