"""`AsyncRedisStore`: the memory of agents in Redis, awaited."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any, Self, TypeVar

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis

from stores.async_store import AsyncStore
from stores.calls import Call
from stores.interface import Seconds
from stores.loops import PerLoop
from stores.plans import Plans
from stores.redis.commands import RedisCall, RedisCommands
from stores.redis.failures import ANSWERED, no_reply, not_sent, refused
from stores.redis.settings import MAX_RECORD_BYTES, connection_settings

Reply = TypeVar("Reply")


class AsyncRedisStore(AsyncStore):
    """`stores.redis.store.RedisStore`, awaited. ``client`` is one of `redis.asyncio`."""

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
        pool: Any = client if isinstance(client, ConnectionPool) else client.connection_pool
        self._pools: PerLoop[Any] = PerLoop(lambda: pool, _leave_open)

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
        """See `stores.redis.store.RedisStore.from_url`. Each event loop gets a pool of its own."""

        def make() -> BlockingConnectionPool:
            return BlockingConnectionPool.from_url(
                url,
                max_connections=max_connections,
                timeout=timeout / 4,
                **connection_settings(timeout),
            )

        store = cls(
            make(),
            namespace=namespace,
            ttl=ttl,
            timeout=timeout,
            max_record_bytes=max_record_bytes,
        )
        store._pools = PerLoop(make, BlockingConnectionPool.disconnect)
        return store

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
            raise no_reply(call.session_id, error) from error
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
                return await connection.read_response(disable_decoding=True)
            except exceptions.NoScriptError:
                await connection.send_command(*call.by_source())
                return await connection.read_response(disable_decoding=True)

    async def _disconnect(self) -> None:
        await self._pools.close()


async def _leave_open(pool: Any) -> None:
    """Do nothing: the pool is the caller's."""
