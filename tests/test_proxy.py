"""The fault proxy, in front of a server that echoes: no store and no database needed."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from harness.faces import LoopThread
from harness.faults import FaultProxy, address_of
from harness.polling import eventually

SOON = 0.05
"""Seconds after which what has not come is taken not to come. Loopback takes 0.0001."""


class Echo:
    """Answers each piece with itself, and keeps what it got."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        self._connections: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):  # closed already
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            connection.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            while piece := connection.recv(65536):
                self.got.append(piece)
                connection.sendall(piece)


@pytest.fixture
def echo() -> Iterator[Echo]:
    with closing(Echo()) as server:
        yield server


@pytest.fixture
def proxy(echo: Echo) -> Iterator[FaultProxy]:
    with closing(FaultProxy(lambda: echo.address)) as between:
        yield between


def connect(proxy: FaultProxy) -> socket.socket:
    return socket.create_connection(address_of(proxy.url("tcp://anywhere:1")), timeout=2)


def ask(connection: socket.socket, text: bytes) -> bytes:
    connection.sendall(text)
    return connection.recv(100)


def is_silent(connection: socket.socket) -> bool:
    connection.settimeout(SOON)
    try:
        connection.recv(100)
    except TimeoutError:
        return True
    finally:
        connection.settimeout(2)
    return False


def assert_works(proxy: FaultProxy) -> None:
    with connect(proxy) as connection:
        assert ask(connection, b"after") == b"after"


def test_passes_everything_on_and_counts_it(proxy: FaultProxy) -> None:
    with connect(proxy) as first, connect(proxy) as second:
        assert ask(first, b"one") == b"one"
        assert ask(second, b"two") == b"two"
        assert ask(first, b"three") == b"three"
        assert (proxy.connections, proxy.requests, proxy.open_links) == (2, 3, 2)
    assert eventually(lambda: proxy.open_links == 0)


def test_passes_more_than_one_chunk_on_unchanged(proxy: FaultProxy) -> None:
    sent = bytes(range(256)) * 4000
    with connect(proxy) as connection:
        threading.Thread(target=connection.sendall, args=(sent,), daemon=True).start()
        got = b""
        while len(got) < len(sent):
            got += connection.recv(65536)
    assert got == sent


def test_replaces_host_and_port_of_a_url_and_nothing_else(proxy: FaultProxy) -> None:
    host, port = address_of(proxy.url("redis://h:1"))
    assert host == "127.0.0.1"
    assert proxy.url("redis://h:6379/0") == f"redis://127.0.0.1:{port}/0"
    assert (
        proxy.url("postgresql://me:p%40ss@h:5432/db?sslmode=disable")
        == f"postgresql://me:p%40ss@127.0.0.1:{port}/db?sslmode=disable"
    )


def test_a_url_without_an_address_is_refused_without_showing_its_password() -> None:
    with pytest.raises(ValueError, match="no host and port") as refusal:
        address_of("redis://:secret@/0")
    assert "secret" not in str(refusal.value)


def test_asks_for_the_servers_address_at_each_connect(echo: Echo) -> None:
    with closing(Echo()) as moved:
        addresses = iter([echo.address, moved.address])
        with (
            closing(FaultProxy(lambda: next(addresses))) as proxy,
            connect(proxy) as before,
            connect(proxy) as after,
        ):
            ask(before, b"to the first")
            ask(after, b"to the second")
    assert (echo.got, moved.got) == ([b"to the first"], [b"to the second"])


def test_a_server_that_is_gone_is_a_reset(echo: Echo, proxy: FaultProxy) -> None:
    echo.close()
    with pytest.raises(ConnectionResetError), connect(proxy) as connection:
        connection.recv(1)


def test_refuse_refuses_and_resets_and_ends(proxy: FaultProxy) -> None:
    with connect(proxy) as connection:
        ask(connection, b"before")
        with proxy.refuse():
            with pytest.raises(ConnectionResetError):
                connection.recv(1)
            with pytest.raises(ConnectionRefusedError):
                connect(proxy)
    assert_works(proxy)


def test_reset_resets_old_and_new_connections_and_ends(proxy: FaultProxy) -> None:
    with connect(proxy) as old:
        ask(old, b"before")
        with proxy.reset():
            with pytest.raises(ConnectionResetError):
                old.recv(1)
            with pytest.raises(ConnectionResetError), connect(proxy) as new:
                new.recv(1)
    assert_works(proxy)


def test_blackhole_lets_nothing_through_and_ends(proxy: FaultProxy, echo: Echo) -> None:
    with connect(proxy) as old, connect(proxy) as idle:
        ask(old, b"before")
        ask(idle, b"before")
        with proxy.blackhole():
            old.sendall(b"lost")
            with connect(proxy) as new:
                new.sendall(b"lost too")
                assert is_silent(new)
            assert is_silent(old)
        with pytest.raises(ConnectionResetError):
            old.recv(1)
        assert ask(idle, b"after") == b"after"
    assert echo.got == [b"before", b"before", b"after"]
    assert_works(proxy)


def test_delay_delays_each_reply_and_ends(proxy: FaultProxy) -> None:
    with connect(proxy) as connection:
        with proxy.delay(SOON):
            start = time.monotonic()
            assert ask(connection, b"late") == b"late"
            assert time.monotonic() - start >= SOON
        with proxy.delay(60):
            connection.sendall(b"held back")
            assert is_silent(connection)
        assert connection.recv(100) == b"held back"
        assert ask(connection, b"after") == b"after"


def test_drop_next_reply_lets_the_server_execute_and_ends(proxy: FaultProxy, echo: Echo) -> None:
    with connect(proxy) as connection, proxy.drop_next_reply():
        with pytest.raises(ConnectionResetError):
            ask(connection, b"executed")
        assert_works(proxy)
    assert echo.got == [b"executed", b"after"]
    with proxy.drop_next_reply():
        pass
    assert_works(proxy)


def test_drop_next_reply_can_go_mute(proxy: FaultProxy, echo: Echo) -> None:
    with connect(proxy) as connection:
        with proxy.drop_next_reply("silence"):
            connection.sendall(b"executed")
            assert is_silent(connection)
            assert_works(proxy)
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    assert echo.got == [b"executed", b"after"]


def test_half_reply_gives_half_and_goes_mute(proxy: FaultProxy) -> None:
    with connect(proxy) as connection:
        with proxy.half_reply():
            assert ask(connection, b"whole") == b"wh"
            assert is_silent(connection)
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    assert_works(proxy)


def test_half_reply_can_reset(proxy: FaultProxy) -> None:
    with proxy.half_reply("reset"), connect(proxy) as connection:
        assert ask(connection, b"whole") == b"wh"
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    assert_works(proxy)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_cut_after_executes_so_many_requests(proxy: FaultProxy, echo: Echo, count: int) -> None:
    sent = [b"1", b"2", b"3", b"4"]
    with proxy.cut_after(count):
        answered = 0
        with suppress(ConnectionResetError, BrokenPipeError), connect(proxy) as connection:
            for text in sent:
                answered += ask(connection, text) == text
        with pytest.raises(ConnectionResetError), connect(proxy) as later:
            later.recv(1)
    assert echo.got == sent[:count]
    assert answered == max(0, count - 1), "all replies but the last come through"
    assert_works(proxy)


def test_modes_combine(proxy: FaultProxy, echo: Echo) -> None:
    with connect(proxy) as connection, proxy.delay(SOON), proxy.drop_next_reply():
        start = time.monotonic()
        with pytest.raises(ConnectionResetError):
            ask(connection, b"executed")
        assert time.monotonic() - start >= SOON
    assert echo.got == [b"executed"]


def test_a_fault_ends_with_its_block_when_the_block_fails(proxy: FaultProxy) -> None:
    modes = (
        proxy.refuse,
        proxy.reset,
        proxy.blackhole,
        lambda: proxy.delay(60),
        proxy.drop_next_reply,
        proxy.half_reply,
        lambda: proxy.cut_after(0),
    )
    for mode in modes:
        with pytest.raises(ZeroDivisionError), mode():
            raise ZeroDivisionError
        assert_works(proxy)


def test_close_leaves_nothing_open(echo: Echo) -> None:
    before = threading.active_count()
    proxy = FaultProxy(lambda: echo.address)
    with connect(proxy) as connection:
        ask(connection, b"before")
        proxy.close()
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    assert proxy.open_links == 0
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
    proxy.close()
    assert eventually(lambda: threading.active_count() <= before)


def test_ignore_neither_accepts_nor_refuses_and_ends(proxy: FaultProxy) -> None:
    with connect(proxy) as connection:
        ask(connection, b"before")
        with proxy.ignore():
            with pytest.raises(ConnectionResetError):
                connection.recv(1)
            with pytest.raises(TimeoutError):
                socket.create_connection(address_of(proxy.url("tcp://anywhere:1")), SOON)
    assert_works(proxy)


def test_drip_lets_a_reply_through_byte_by_byte(proxy: FaultProxy) -> None:
    with connect(proxy) as connection:
        with proxy.drip(SOON):
            start = time.monotonic()
            assert [ask(connection, b"slow"), connection.recv(100)] == [b"s", b"l"]
            assert time.monotonic() - start > 2 * SOON * 0.9
        assert connection.recv(100) == b"ow"
        assert ask(connection, b"after") == b"after"
    assert_works(proxy)


def test_proxies_can_share_a_loop(echo: Echo) -> None:
    loop = LoopThread()
    one, other = FaultProxy(lambda: echo.address, loop), FaultProxy(lambda: echo.address, loop)
    one.close()
    assert_works(other)
    other.close()
    loop.stop()
