"""The Redis stores on a client or a pool of their user's, with the driver's own settings."""

from __future__ import annotations

from typing import Any

import redis
import redis.asyncio
from redis.connection import SSLConnection, parse_url

from stores.redis import AsyncRedisStore, RedisStore


def with_client(url: str, *, max_connections: int = 10, **options: Any) -> RedisStore:
    """Return a store on a `redis.Redis`, which tries each command ten times again by default."""
    client = redis.Redis(**_arguments(url), max_connections=max_connections)
    return RedisStore(client, **options)


def with_pool(url: str, *, max_connections: int = 10, **options: Any) -> RedisStore:
    """Return a store on a `redis.ConnectionPool`."""
    pool = redis.ConnectionPool.from_url(url, max_connections=max_connections)
    return RedisStore(pool, **options)


def with_async_client(url: str, *, max_connections: int = 10, **options: Any) -> AsyncRedisStore:
    """Return a store on a `redis.asyncio.Redis`, with as many retries."""
    client = redis.asyncio.Redis(**_arguments(url), max_connections=max_connections)
    return AsyncRedisStore(client, **options)


def with_async_pool(url: str, *, max_connections: int = 10, **options: Any) -> AsyncRedisStore:
    """Return a store on a `redis.asyncio.ConnectionPool`."""
    pool = redis.asyncio.ConnectionPool.from_url(url, max_connections=max_connections)
    return AsyncRedisStore(pool, **options)


def _arguments(url: str) -> dict[str, Any]:
    """Return the URL as the arguments of a client."""
    arguments: dict[str, Any] = parse_url(url)  # type: ignore[no-untyped-call] # it has no types
    if arguments.pop("connection_class", None) is SSLConnection:
        arguments["ssl"] = True
    return arguments
