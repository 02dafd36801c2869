"""`AsyncRedisStore`: the memory of agents in Redis, awaited."""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from time import monotonic
from typing import Any, Self, TypeVar, cast

from redis import exceptions
from redis.asyncio import ConnectionPool, Redis, RedisCluster

from stores.async_store import AsyncStore, carry_out
from stores.calls import Call, Pause
from stores.interface import Seconds
from stores.loops import PerLoop
from stores.plans import Plans
from stores.redis.clients import Servers, servers_of, servers_of_url
from stores.redis.commands import MAX_RECORD_BYTES, Command, RedisCall, RedisCommands, packed
from stores.redis.connections import AsyncPool, own_async_pool
from stores.redis.driver import TO_TAKE, check_open
from stores.redis.failures import ANSWERED, no_reply, not_sent, refused
from stores.redis.routing import Direct, Hop, Leave, Node

Reply = TypeVar("Reply")


class AsyncRedisStore(AsyncStore):
    """`stores.redis.store.RedisStore`, awaited. ``client`` is one of `redis.asyncio`.

    Each event loop in which the store is used gets connections of its own.
    """

    def __init__(
        self,
        client: Redis | ConnectionPool | RedisCluster | Servers,
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
        self._servers = client if isinstance(client, Servers) else servers_of(client)
        self._route = self._servers.route(self._plans.timeout)
        self._pools: PerLoop[dict[Node | None, Any]] = PerLoop(dict, self._close_pools)

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
        servers: Any = servers_of_url(ConnectionPool.from_url, url, max_connections)
        return cls(
            servers,
            namespace=namespace,
            ttl=ttl,
            timeout=timeout,
            max_record_bytes=max_record_bytes,
        )

    async def _carry(self, call: Call[Reply], deadline: float) -> Reply:
        assert isinstance(call, RedisCall)
        if isinstance(self._route, Direct):
            return cast("Reply", await self._hop(Hop(call, deadline)))
        return await carry_out(self._route.carry(call, deadline), self._step)

    async def _step(self, step: Hop | Leave | Pause) -> Any:
        if isinstance(step, Pause):
            return await asyncio.sleep(step.seconds)
        if isinstance(step, Hop):
            return await self._hop(step)
        with suppress(exceptions.RedisError, OSError):  # of connections that nobody needs
            await (await self._pool(step.node)).disconnect(inuse_connections=False)
        return None

    async def _pool(self, node: Node | None) -> Any:
        pools = await self._pools.get()
        if node not in pools:
            settings = self._servers.of(node) if self._servers.pool is None else None
            pools[node] = (
                own_async_pool(settings, self._plans.timeout) if settings else self._servers.pool
            )
        return pools[node]

    async def _hop(self, hop: Hop) -> Any:
        call, pool = hop.call, await self._pool(hop.node)
        try:
            connection = await _lent(pool, hop.deadline)
        except (exceptions.RedisError, OSError) as error:
            raise not_sent(call.session_id, error) from error
        try:
            reply = await self._talk(connection, hop)
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
        return call.parse(reply)

    async def _talk(self, connection: Any, hop: Hop) -> Any:
        if monotonic() >= hop.deadline:
            raise not_sent(hop.call.session_id, TimeoutError("connected too late"))
        async with _within(hop.deadline):
            try:
                return await _exchange(connection, hop, hop.call.by_digest())
            except exceptions.NoScriptError:
                return await _exchange(connection, hop, hop.call.by_source())

    async def _disconnect(self) -> None:
        await self._pools.close()

    async def _close_pools(self, pools: dict[Node | None, Any]) -> None:
        if self._servers.pool is None:
            for pool in pools.values():
                await pool.disconnect()


async def _lent(pool: Any, deadline: float) -> Any:
    if isinstance(pool, AsyncPool):
        return await pool.lend(deadline)
    async with _within(deadline):
        return await pool.get_connection(*TO_TAKE)


async def _exchange(connection: Any, hop: Hop, command: Command) -> Any:
    check_open(connection)
    if hop.asking:
        await connection.send_packed_command([packed(("ASKING",)) + packed(command)])
        await _reply(connection)
    else:
        await connection.send_packed_command([packed(command)])
    if not getattr(connection, "socket_timeout", None):
        return await _reply(connection)
    # On a pool of an unknown class: with a timeout redis-py sends by asyncio.wait_for, which
    # swallows a cancellation that comes as it ends (Python before 3.12): none would end this wait.
    async with _within(hop.deadline):
        return await _reply(connection)


async def _reply(connection: Any) -> Any:
    # With a timeout of its own, redis-py gives None where it runs out.
    return await connection.read_response(disable_decoding=True, timeout=math.inf)


def _within(deadline: float) -> asyncio.Timeout:
    return asyncio.timeout(max(0.001, deadline - monotonic()))
