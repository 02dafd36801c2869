"""Redis stores on a client of the caller's: whose connections are whose, and which are closed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing

import fakeredis
import pytest
import redis
import redis.asyncio

from harness.backends import backend
from harness.faults import FaultProxy, address_of
from harness.matrix import load
from harness.polling import eventually
from harness.servers.fake import FakeServer
from stores.interface import Message
from stores.redis import AsyncRedisStore, RedisStore


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    """Count the connections to a fake server."""
    server = FakeServer(load().cell("fakeredis7"), backend("redis"))
    server.start()
    with closing(FaultProxy(lambda: address_of(server.url))) as between:
        yield between
    server.remove()


def test_close_ends_the_stores_connections_and_leaves_the_clients(proxy: FaultProxy) -> None:
    with redis.Redis.from_url(proxy.url("redis://any:1"), protocol=2) as client:
        client.ping()
        with RedisStore(client, namespace="n") as store:
            store.ping()
            assert proxy.open_links == 2
        assert eventually(lambda: proxy.open_links == 1)
        client.ping()
        assert proxy.connections == 2


def test_async_close_ends_the_stores_connections_and_leaves_the_clients(proxy: FaultProxy) -> None:
    async def use() -> None:
        async with redis.asyncio.Redis.from_url(proxy.url("redis://any:1"), protocol=2) as client:
            await client.ping()
            async with AsyncRedisStore(client, namespace="n") as store:
                await store.ping()
                assert proxy.open_links == 2
            assert await asyncio.to_thread(eventually, lambda: proxy.open_links == 1)
            await client.ping()
            assert proxy.connections == 2

    asyncio.run(use())


def test_a_client_without_a_server_process_works_too() -> None:
    with RedisStore(fakeredis.FakeRedis(), namespace="n") as store:
        assert store.append_message("s", Message("user", "hi")).position == 1
        assert len(store.get_history("s")) == 1
