"""URLs of several hosts: which is meant, which is tried first, and how long."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from time import monotonic

import psycopg
import pytest
from psycopg.pq.abc import PGconn

from stores.postgres.settings import (
    ConnectionSettings,
    connect,
    connect_async,
    connection_settings,
    replica_settings,
)

SECONDS = 2.0
AUTHENTICATED = b"R\0\0\0\x08\0\0\0\0"
READY = b"Z\0\0\0\x05I"
Connect = Callable[[ConnectionSettings, float], PGconn]


class Host:
    """A port that speaks just enough of Postgres to let clients in, or is silent."""

    def __init__(self, *, standby: bool = False, silent: bool = False) -> None:
        self.visits = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._standby = standby
        self._silent = silent
        self._clients: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for client in self._clients:
            client.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._clients.append(client)
                self.visits += 1
                if self._silent:
                    continue
                client.recv(4096)
                client.sendall(
                    AUTHENTICATED
                    + _status("server_version", "16.0")
                    + _status("in_hot_standby", "on" if self._standby else "off")
                    + _status("default_transaction_read_only", "off")
                    + READY
                )


def _status(name: str, value: str) -> bytes:
    body = f"{name}\0{value}\0".encode()
    return b"S" + (4 + len(body)).to_bytes(4) + body


@pytest.fixture
def new_host() -> Iterator[Callable[..., Host]]:
    """Start hosts; all are closed at the end."""
    with ExitStack() as hosts:

        def new(**options: bool) -> Host:
            host = Host(**options)
            hosts.callback(host.close)
            return host

        yield new


def _connect_async(settings: ConnectionSettings, seconds: float) -> PGconn:
    return asyncio.run(connect_async(settings, seconds))


@pytest.fixture(params=[connect, _connect_async], ids=["sync", "async"])
def connecting(request: pytest.FixtureRequest) -> Connect:
    """Either way to connect."""
    way: Connect = request.param
    return way


def settings_of(*hosts: Host | str, query: str = "") -> ConnectionSettings:
    places = ",".join(host if isinstance(host, str) else host.address for host in hosts)
    url = f"postgresql://agent:secret@{places}/memory?sslmode=disable&gssencmode=disable{query}"
    return connection_settings(url, 5)


def test_the_host_that_takes_writes_is_meant(
    new_host: Callable[..., Host], connecting: Connect
) -> None:
    standby, primary = new_host(standby=True), new_host()
    connecting(settings_of(standby, primary), SECONDS).finish()
    assert (standby.visits, primary.visits) == (1, 1)
    connecting(settings_of(standby, primary, query="&target_session_attrs=any"), SECONDS).finish()
    assert (standby.visits, primary.visits) == (2, 1)
    connecting(settings_of(standby), SECONDS).finish()
    assert standby.visits == 3


def test_a_silent_host_leaves_time_for_the_next_and_is_asked_last_from_then_on(
    new_host: Callable[..., Host], connecting: Connect
) -> None:
    silent, primary = new_host(silent=True), new_host()
    settings = settings_of(silent, primary)
    start = monotonic()
    connecting(settings, SECONDS).finish()
    assert monotonic() - start < SECONDS
    connecting(settings, SECONDS).finish()
    assert (silent.visits, primary.visits) == (1, 2)


def test_why_no_host_will_do_is_told_of_each_without_the_password(
    new_host: Callable[..., Host], connecting: Connect
) -> None:
    standby = new_host(standby=True)
    with pytest.raises(psycopg.Error) as raised:
        connecting(settings_of("127.0.0.1:1", standby), SECONDS)
    text = str(raised.value)
    assert "refused" in text
    assert "read-only" in text
    assert "secret" not in text


def test_hosts_that_are_all_silent_are_given_up_in_time(
    new_host: Callable[..., Host], connecting: Connect
) -> None:
    start = monotonic()
    with pytest.raises((psycopg.Error, TimeoutError)):
        connecting(settings_of(*(new_host(silent=True) for _ in range(3))), 0.3)
    assert monotonic() - start < SECONDS


def test_each_host_of_a_replicas_url_is_one_and_may_be_a_standby(
    new_host: Callable[..., Host], connecting: Connect
) -> None:
    standby, primary = new_host(standby=True), new_host()
    url = (
        f"postgresql://agent:secret@{standby.address},{primary.address}/memory"
        "?sslmode=disable&gssencmode=disable&target_session_attrs=read-write"
    )
    for settings in replica_settings(url, 5, unlogged=False):
        connecting(settings, SECONDS).finish()
    assert (standby.visits, primary.visits) == (1, 1)


@pytest.mark.parametrize("hosts", ["h:1,se@cret:2", "h,h:cret", "h:1,h:2x"])
def test_a_malformed_host_is_refused_without_the_password(hosts: str) -> None:
    for make in (connection_settings, lambda url, _: replica_settings(url, 5, unlogged=False)):
        with pytest.raises(ValueError) as raised:  # noqa: PT011 - what it must not say matters
            make(f"postgresql://agent:secret@{hosts}/memory", 5)
        assert "cret" not in str(raised.value)
