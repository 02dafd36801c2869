"""The connections of Postgres cells: what they cost, in counts, and what is left on them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest

from harness.backends.postgres import PostgresBackend
from harness.inspectors.postgres import Line, PostgresInspector
from harness.matrix import load
from harness.polling import eventually
from harness.servers.embedded import EmbeddedServer
from stores import Message
from stores.postgres import PostgresStore
from stores.postgres.sweeper import Sweeper

PASSES = 20
LATEST = 20.0
"""Seconds that so many passes may take on a busy machine."""
SWEEPERS = "FROM pg_stat_activity WHERE application_name = 'agent memory'"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The URL of a server with the store's schema."""
    cell = load().cell("postgres16_durable_swept_read_committed")
    server = EmbeddedServer(cell, PostgresBackend())
    try:
        server.start()
        with PostgresStore.from_url(server.url, namespace="n", ttl=0.001) as store:
            store.append_message("expires", Message("user", "hi"))
        yield server.url
    finally:
        server.remove()


@pytest.fixture
def server(url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection of the harness's own."""
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def test_a_login_hashes_once(server: psycopg.Connection[Any]) -> None:
    """A cell logs in a thousand times: more rounds slow down nobody but the cell."""
    query = "SELECT count(*) FROM pg_authid WHERE rolpassword LIKE 'SCRAM-SHA-256$1:%'"
    assert server.execute(query).fetchone() == (1,)


def test_a_wrong_password_is_refused_all_the_same(url: str) -> None:
    """The round that is left still tells passwords apart."""
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(url, password="wrong").close()


def test_connections_find_plpgsql_loaded(server: psycopg.Connection[Any]) -> None:
    """All functions of the store are in it."""
    assert server.execute("SHOW shared_preload_libraries").fetchone() == ("plpgsql",)


def test_a_reply_that_nobody_read_concerns_no_later_contract(url: str) -> None:
    """The inspectors' connection is made anew where a contract's time ran out in a query."""
    line = Line(url)
    with closing(line), closing(PostgresInspector(line, url, "empty")) as inspector:
        assert inspector.sessions() == set()
        line.open().pgconn.send_query(b"SELECT pg_sleep(60)")
        assert inspector.sessions() == set()


def sweepers(server: psycopg.Connection[Any]) -> set[object]:
    """Return the server's processes of sweepers."""
    return {pid for (pid,) in server.execute(f"SELECT pid {SWEEPERS}")}


def test_passes_that_follow_each_other_share_a_connection(
    server: psycopg.Connection[Any], url: str
) -> None:
    """A new connection costs more than ten passes; one that was ended is replaced."""
    begun: set[tuple[object, ...]] = set()

    def some_passes() -> bool:
        begun.update(server.execute(f"SELECT pid, query_start {SWEEPERS}"))
        return len(begun) >= PASSES

    with Sweeper(url, every=0.001):
        assert eventually(some_passes, LATEST)
        first = {pid for pid, _ in begun}
        assert len(first) == 1, f"{len(begun)} statements came by {len(first)} connections"
        server.execute(f"SELECT pg_terminate_backend(pid) {SWEEPERS}")
        assert eventually(lambda: sweepers(server) - first, LATEST), "it sweeps no more"
    assert eventually(lambda: not sweepers(server), LATEST), "stopping left a connection"


def test_passes_that_are_far_apart_keep_no_connection(
    server: psycopg.Connection[Any], url: str
) -> None:
    """Between them the server has one client less."""
    with closing(psycopg.connect(url, autocommit=True)) as other:
        other.execute(
            "INSERT INTO agent_memory.sessions (namespace, session_id, expires_at)"
            " VALUES ('n', 'expires', now())"
        )
    left = "SELECT count(*) FROM agent_memory.sessions"
    with Sweeper(url, every=60):
        assert eventually(lambda: server.execute(left).fetchone() == (0,), LATEST)
        assert eventually(lambda: not sweepers(server), LATEST)
