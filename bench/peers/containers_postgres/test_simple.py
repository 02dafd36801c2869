"""testcontainers as its docs show it, with its default waits: one for the run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from testcontainers.community.postgres import PostgresContainer

from bench.peers.simple import COUNT, in_postgres


@pytest.fixture(scope="session")
def connection() -> Iterator[Any]:
    """A connection to a Postgres in a container."""
    with (
        PostgresContainer(os.environ["BENCH_IMAGE"], driver=None) as container,
        psycopg.connect(container.get_connection_url()) as connection,
    ):
        yield connection


@pytest.mark.parametrize("number", range(COUNT))
def test_simple(connection: Any, number: int) -> None:
    """What goes in comes out."""
    in_postgres(connection, number)
