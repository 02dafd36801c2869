"""testcontainers as its docs show it, with its default waits: one for the run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from testcontainers.community.redis import RedisContainer

from bench.peers.simple import COUNT, in_redis


@pytest.fixture(scope="session")
def client() -> Iterator[Any]:
    """A client of a Redis in a container."""
    with RedisContainer(os.environ["BENCH_IMAGE"]) as container, container.get_client() as client:
        yield client


@pytest.mark.parametrize("number", range(COUNT))
def test_simple(client: Any, number: int) -> None:
    """What goes in comes out."""
    in_redis(client, number)
