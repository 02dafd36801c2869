"""pytest-redis: a local redis-server for the run, emptied after each test."""

from __future__ import annotations

import os
from typing import Any

import pytest
from pytest_redis import factories

from bench.peers.simple import COUNT, in_redis

redis_server = factories.redis_proc(executable=os.environ["BENCH_REDIS_SERVER"])
client = factories.redisdb("redis_server")


@pytest.mark.parametrize("number", range(COUNT))
def test_simple(client: Any, number: int) -> None:
    """What goes in comes out."""
    in_redis(client, number)
