"""The pattern of the published post-mortems: a container a class, and a sleep for each TTL."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest
from testcontainers.community.redis import RedisContainer

from bench.peers.simple import in_redis


@pytest.fixture(scope="class")
def client() -> Iterator[Any]:
    """A client of a Redis in a container."""
    with RedisContainer(os.environ["BENCH_IMAGE"]) as container, container.get_client() as client:
        yield client


class Memory:
    """Five tests: four of messages, one of expiry."""

    @pytest.mark.parametrize("number", range(4))
    def test_simple(self, client: Any, number: int) -> None:
        """What goes in comes out."""
        in_redis(client, number)

    def test_expiry(self, client: Any) -> None:
        """What has expired is gone."""
        client.setex("short", 1, "x")
        time.sleep(2)
        assert client.get("short") is None


class TestHistory(Memory):
    """Of the history."""


class TestContext(Memory):
    """Of the context."""


class TestLocks(Memory):
    """Of the locks."""


class TestSessions(Memory):
    """Of the sessions."""
