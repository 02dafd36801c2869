"""`AsyncPostgresStore`: the memory of agents in Postgres, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import monotonic
from typing import Any, Self, TypeVar

import psycopg
from psycopg import AsyncConnection
from psycopg.pq.abc import PGconn
from psycopg_pool import AsyncConnectionPool

from stores.async_store import AsyncStore
from stores.calls import Call, Pause
from stores.interface import Seconds
from stores.plans import Plans
from stores.postgres.driver import wait_async
from stores.postgres.exchange import exchange_all, rows_of, tries
from stores.postgres.failures import (
    check_takes_writes,
    connection_lost,
    failed,
    misplaced,
    not_sent,
)
from stores.postgres.lending import AsyncCallersPool, AsyncLender, AsyncOwnPool
from stores.postgres.preparing import Preparing
from stores.postgres.replicas import Question, Replicas
from stores.postgres.settings import (
    MAX_RECORD_BYTES,
    Urls,
    connection_settings,
    replica_settings,
)
from stores.postgres.statements import (
    SCHEMA,
    Answer,
    Batch,
    PostgresCall,
    PostgresStatements,
    Row,
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
        replicas: Urls = (),
        max_connections: int = 10,
    ) -> None:
        statements = PostgresStatements(namespace, schema=schema)
        super().__init__(
            Plans(statements, ttl=ttl, timeout=timeout, max_record_bytes=max_record_bytes)
        )
        self._schema = schema
        self._unlogged = unlogged
        # A caller's connections are the caller's: nothing is left behind on them.
        self._preparing = Preparing() if isinstance(pool, AsyncOwnPool) else None
        self._lender: AsyncLender = (
            AsyncCallersPool(pool, timeout / 2) if isinstance(pool, AsyncConnectionPool) else pool
        )
        self._replicas: Replicas[AsyncLender] = Replicas(
            [
                AsyncOwnPool(settings, max_connections, timeout / 4)
                for settings in replica_settings(replicas, timeout, unlogged=unlogged)
            ]
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
        replicas: Urls = (),
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
            replicas=replicas,
            max_connections=max_connections,
        )

    async def _carry(self, call: Call[Reply], deadline: float) -> Reply:
        assert isinstance(call, PostgresCall)
        question = self._replicas.question(call, deadline)
        rows = await self._ask_replica(question) if question else None
        if rows is None:
            rows = await self._ask_primary(call, deadline)
        result: Reply = call.parse(rows)
        return result

    async def _ask_replica(self, question: Question[AsyncLender]) -> Sequence[Row] | None:
        lender = question.replica.lender
        try:
            loan = await lender.take(question.deadline)
            try:
                answers = await _take(loan.pgconn, question.batch, question.deadline)
            finally:
                await lender.give_back(loan)
        except (psycopg.Error, OSError) as error:
            lender.distrust()
            self._replicas.failed(question, error)
            return None
        return self._replicas.answered(question, answers)

    async def _ask_primary(self, call: PostgresCall[Any], deadline: float) -> Sequence[Row]:
        try:
            loan = await self._lender.take(deadline, writes=not call.reads)
        except (psycopg.Error, OSError) as error:
            raise not_sent(call.session_id, error) from error
        try:
            check_takes_writes(loan.pgconn, call)
            answers = await self._talk(loan.pgconn, self._replicas.batch(call), deadline)
        except psycopg.Error as error:
            if misplaced(error):
                loan.pgconn.finish()
            if misplaced(error) or connection_lost(error):
                self._lender.distrust()
            raise failed(call, error) from error
        finally:
            await self._lender.give_back(loan)
        self._replicas.learn(answers)
        return rows_of(answers[0])

    async def _talk(self, pgconn: PGconn, batch: Batch, deadline: float) -> list[Answer]:
        steps = tries(batch, deadline, schema=self._schema, unlogged=self._unlogged)
        try:
            step = next(steps)
            while True:
                step = steps.send(await _take(pgconn, step, deadline, self._preparing))
        except StopIteration as done:
            answers: list[Answer] = done.value
            return answers

    async def _disconnect(self) -> None:
        for lender in [self._lender, *self._replicas.lenders]:
            lender.close()


async def _take(
    pgconn: PGconn, step: Batch | Pause, deadline: float, preparing: Preparing | None = None
) -> list[Answer]:
    if isinstance(step, Pause):
        await asyncio.sleep(step.seconds)
        return []
    left = max(0.001, deadline - monotonic())
    return await wait_async(exchange_all(pgconn, step, preparing), pgconn.socket, left)
