"""`AsyncRedisStore`: the memory of agents in Redis, awaited."""

from __future__ import annotations

import asyncio
import math
from functools import partial
from time import monotonic
from typing import Any, Self, TypeVar

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis

from stores.async_store import AsyncStore
from stores.calls import Call
from stores.interface import Seconds
from stores.loops import PerLoop
from stores.plans import Plans
from stores.redis.commands import MAX_RECORD_BYTES, RedisCall, RedisCommands
from stores.redis.connections import own_async_pool, pool_of_url
from stores.redis.failures import ANSWERED, no_reply, not_sent, refused

Reply = TypeVar("Reply")


class AsyncRedisStore(AsyncStore):
    """`stores.redis.store.RedisStore`, awaited. ``client`` is one of `redis.asyncio`.

    Each event loop in which the store is used gets connections of its own.
    """

    def __init__(
        self,
        client: Redis | ConnectionPool,
        *,
        namespace: str,
        ttl: Seconds | None = None,
        timeout: float = 5.0,
        max_record_bytes: int = MAX_RECORD_BYTES,
    ) -> None:
        commands = RedisCommands(namespace)
        super().__init__(
            Plans(commands, ttl=ttl, timeout=timeout, max_record_bytes=max_record_bytes)
        )
        given: Any = client if isinstance(client, ConnectionPool) else client.connection_pool
        self._pools: PerLoop[Any]
        if type(given) in {ConnectionPool, BlockingConnectionPool}:
            make = partial(own_async_pool, given, self._plans.timeout)
            self._pools = PerLoop(make, BlockingConnectionPool.disconnect)
        else:
            # A pool of another class, such as Sentinel's, finds its server in its own way.
            self._pools = PerLoop(lambda: given, _leave_open)

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        namespace: str,
        ttl: Seconds | None = None,
        timeout: float = 5.0,
        max_connections: int = 10,
        max_record_bytes: int = MAX_RECORD_BYTES,
    ) -> Self:
        """See `stores.redis.store.RedisStore.from_url`."""
        return cls(
            pool_of_url(ConnectionPool.from_url, url, max_connections),
            namespace=namespace,
            ttl=ttl,
            timeout=timeout,
            max_record_bytes=max_record_bytes,
        )

    async def _carry(self, call: Call[Reply], deadline: float) -> Reply:
        assert isinstance(call, RedisCall)
        pool = await self._pools.get()
        try:
            connection = await pool.get_connection()
        except (exceptions.RedisError, OSError) as error:
            raise not_sent(call.session_id, error) from error
        try:
            reply = await self._talk(connection, call, deadline)
        except ANSWERED as error:
            raise refused(call.session_id, error) from error
        except (exceptions.RedisError, OSError) as error:
            await connection.disconnect(nowait=True)
            raise no_reply(call, error) from error
        except BaseException:
            # Cancelled: a reply may still be under way, and nobody may read it as their own.
            await connection.disconnect(nowait=True)
            raise
        finally:
            await pool.release(connection)
        result: Reply = call.parse(reply)
        return result

    async def _talk(self, connection: Any, call: RedisCall[Reply], deadline: float) -> Any:
        async with asyncio.timeout(max(0.001, deadline - monotonic())):
            await connection.send_command(*call.by_digest())
            try:
                return await _reply(connection)
            except exceptions.NoScriptError:
                await connection.send_command(*call.by_source())
                return await _reply(connection)

    async def _disconnect(self) -> None:
        await self._pools.close()


async def _reply(connection: Any) -> Any:
    # The deadline bounds it. With a timeout of its own, redis-py gives None where it runs out.
    return await connection.read_response(disable_decoding=True, timeout=math.inf)


async def _leave_open(pool: Any) -> None:
    """Do nothing: the pool is the caller's."""
