"""The Redis stores on a client or a pool of their user's, with the driver's own settings."""

from __future__ import annotations

from typing import Any

import redis
import redis.asyncio
from redis import exceptions
from redis.connection import SSLConnection, parse_url

from harness.backends.redis_groups import group_client, is_cluster
from harness.servers.topology import is_group
from stores.redis import AsyncRedisStore, RedisStore


def with_client(url: str, *, max_connections: int = 10, **options: Any) -> RedisStore:
    """Return a store on a `redis.Redis`, which tries each command ten times again by default.

    For a group it is one of a Sentinel's, or a `redis.RedisCluster`, which has connected already.
    """
    if is_group(url):
        try:
            with group_client(url, max_connections=max_connections) as client:
                return RedisStore(client, **options)
        except (exceptions.RedisError, exceptions.RedisClusterException):
            # A cluster's client that cannot connect is not there to be given to anybody.
            return RedisStore.from_url(url, max_connections=max_connections, **options)
    client = redis.Redis(**_arguments(url), max_connections=max_connections)
    return RedisStore(client, **options)


def with_pool(url: str, *, max_connections: int = 10, **options: Any) -> RedisStore:
    """Return a store on a `redis.ConnectionPool`, or a Sentinel's; a cluster has none."""
    if is_cluster(url):
        return with_client(url, max_connections=max_connections, **options)
    if is_group(url):
        pool = group_client(url, max_connections=max_connections).connection_pool
    else:
        pool = redis.ConnectionPool.from_url(url, max_connections=max_connections)
    return RedisStore(pool, **options)


def with_async_client(url: str, *, max_connections: int = 10, **options: Any) -> AsyncRedisStore:
    """Return a store on a `redis.asyncio.Redis`, with as many retries, or on a group's client."""
    if is_group(url):
        group = group_client(url, driver=redis.asyncio, max_connections=max_connections)
        return AsyncRedisStore(group, **options)
    client = redis.asyncio.Redis(**_arguments(url), max_connections=max_connections)
    return AsyncRedisStore(client, **options)


def with_async_pool(url: str, *, max_connections: int = 10, **options: Any) -> AsyncRedisStore:
    """Return a store on a `redis.asyncio.ConnectionPool`, or a Sentinel's; a cluster has none."""
    if is_cluster(url):
        return with_async_client(url, max_connections=max_connections, **options)
    if is_group(url):
        group = group_client(url, driver=redis.asyncio, max_connections=max_connections)
        return AsyncRedisStore(group.connection_pool, **options)
    pool = redis.asyncio.ConnectionPool.from_url(url, max_connections=max_connections)
    return AsyncRedisStore(pool, **options)


def _arguments(url: str) -> dict[str, Any]:
    """Return the URL as the arguments of a client."""
    arguments: dict[str, Any] = parse_url(url)  # type: ignore[no-untyped-call] # it has no types
    if arguments.pop("connection_class", None) is SSLConnection:
        arguments["ssl"] = True
    return arguments
