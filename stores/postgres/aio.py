"""`AsyncPostgresStore`: the memory of agents in Postgres, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import monotonic
from typing import Any, Self, TypeVar

import psycopg
from psycopg import AsyncConnection
from psycopg.pq.abc import PGconn
from psycopg.waiting import wait_async
from psycopg_pool import AsyncConnectionPool

from stores.async_store import AsyncStore
from stores.calls import Call, Pause
from stores.interface import Seconds
from stores.plans import Plans
from stores.postgres.exchange import exchange, tries
from stores.postgres.failures import connection_lost, failed, not_sent
from stores.postgres.lending import AsyncCallersPool, AsyncLender, AsyncOwnPool
from stores.postgres.settings import CHECK_INTERVAL, MAX_RECORD_BYTES, connection_settings
from stores.postgres.statements import (
    SCHEMA,
    PostgresCall,
    PostgresStatements,
    Row,
    Statement,
)

Reply = TypeVar("Reply")


class AsyncPostgresStore(AsyncStore):
    """`stores.postgres.store.PostgresStore`, awaited. ``pool`` is an AsyncConnectionPool."""

    def __init__(
        self,
        pool: AsyncConnectionPool[AsyncConnection[Any]] | AsyncLender,
        *,
        namespace: str,
        ttl: Seconds | None = None,
        timeout: float = 5.0,
        max_record_bytes: int = MAX_RECORD_BYTES,
        schema: str = SCHEMA,
        unlogged: bool = False,
    ) -> None:
        statements = PostgresStatements(namespace, schema=schema)
        super().__init__(
            Plans(statements, ttl=ttl, timeout=timeout, max_record_bytes=max_record_bytes)
        )
        self._schema = schema
        self._unlogged = unlogged
        self._lender: AsyncLender = (
            AsyncCallersPool(pool, timeout / 2) if isinstance(pool, AsyncConnectionPool) else pool
        )

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
        schema: str = SCHEMA,
        unlogged: bool = False,
    ) -> Self:
        """See `stores.postgres.store.PostgresStore.from_url`. Needs no running event loop."""
        settings = connection_settings(url, timeout)
        return cls(
            AsyncOwnPool(settings, max_connections, timeout / 4),
            namespace=namespace,
            ttl=ttl,
            timeout=timeout,
            max_record_bytes=max_record_bytes,
            schema=schema,
            unlogged=unlogged,
        )

    async def _carry(self, call: Call[Reply], deadline: float) -> Reply:
        assert isinstance(call, PostgresCall)
        try:
            loan = await self._lender.take(deadline)
        except (psycopg.Error, OSError) as error:
            raise not_sent(call.session_id, error) from error
        try:
            rows = await self._talk(loan.pgconn, call, deadline)
        except psycopg.Error as error:
            if connection_lost(error):
                self._lender.distrust()
            raise failed(call, error) from error
        finally:
            await self._lender.give_back(loan)
        result: Reply = call.parse(rows)
        return result

    async def _talk(
        self, pgconn: PGconn, call: PostgresCall[Any], deadline: float
    ) -> Sequence[Row]:
        steps = tries(call.statement, deadline, schema=self._schema, unlogged=self._unlogged)
        try:
            step = next(steps)
            while True:
                try:
                    rows = await _take(pgconn, step, deadline)
                except psycopg.Error as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(rows)
        except StopIteration as done:
            result: Sequence[Row] = done.value
            return result

    async def _disconnect(self) -> None:
        self._lender.close()


async def _take(pgconn: PGconn, step: Statement | Pause, deadline: float) -> Sequence[Row] | None:
    if isinstance(step, Pause):
        await asyncio.sleep(step.seconds)
        return None
    left = max(0.001, deadline - monotonic())
    return await wait_async(exchange(pgconn, step), pgconn.socket, CHECK_INTERVAL, left)
