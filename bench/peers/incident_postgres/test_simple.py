"""The pattern of the published post-mortems: a container a class, and a sleep for each TTL."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from testcontainers.community.postgres import PostgresContainer

from bench.peers.simple import in_postgres


@pytest.fixture(scope="class")
def connection() -> Iterator[Any]:
    """A connection to a Postgres in a container."""
    with (
        PostgresContainer(os.environ["BENCH_IMAGE"], driver=None) as container,
        psycopg.connect(container.get_connection_url(), autocommit=True) as connection,
    ):
        yield connection


class Memory:
    """Five tests: four of messages, one of expiry."""

    @pytest.mark.parametrize("number", range(4))
    def test_simple(self, connection: Any, number: int) -> None:
        """What goes in comes out."""
        in_postgres(connection, number)

    def test_expiry(self, connection: Any) -> None:
        """What has expired is filtered out."""
        connection.execute("CREATE TABLE IF NOT EXISTS short (expires_at timestamptz)")
        connection.execute("INSERT INTO short VALUES (now() + interval '1 second')")
        time.sleep(2)
        assert not connection.execute("SELECT 1 FROM short WHERE expires_at > now()").fetchall()


class TestHistory(Memory):
    """Of the history."""


class TestContext(Memory):
    """Of the context."""


class TestLocks(Memory):
    """Of the locks."""


class TestSessions(Memory):
    """Of the sessions."""
