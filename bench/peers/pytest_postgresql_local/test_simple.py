"""pytest-postgresql: a local Postgres for the run, a database from a template for each test."""

from __future__ import annotations

import os
from typing import Any

import pytest
from pytest_postgresql import factories

from bench.peers.simple import COUNT, in_postgres

server = factories.postgresql_proc(
    executable=os.environ["BENCH_PG_CTL"], unixsocketdir=os.environ["BENCH_SOCKETS"]
)
connection = factories.postgresql("server")


@pytest.mark.parametrize("number", range(COUNT))
def test_simple(connection: Any, number: int) -> None:
    """What goes in comes out."""
    in_postgres(connection, number)
