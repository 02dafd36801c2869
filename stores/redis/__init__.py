"""The Redis adapters."""

from stores.redis.aio import AsyncRedisStore
from stores.redis.store import RedisStore

__all__ = ["AsyncRedisStore", "RedisStore"]
