"""`PostgresStore`: the memory of agents in Postgres, blocking."""

from __future__ import annotations

import time
from collections.abc import Sequence
from time import monotonic
from typing import Any, Self, TypeVar

import psycopg
from psycopg import Connection
from psycopg.pq.abc import PGconn
from psycopg_pool import ConnectionPool

from stores.calls import Call, Pause
from stores.interface import Seconds
from stores.plans import Plans
from stores.postgres.driver import wait
from stores.postgres.exchange import exchange_all, rows_of, tries
from stores.postgres.failures import (
    check_takes_writes,
    connection_lost,
    failed,
    misplaced,
    not_sent,
)
from stores.postgres.lending import CallersPool, Lender, OwnPool
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
from stores.sync_store import SyncStore

Reply = TypeVar("Reply")


class PostgresStore(SyncStore):
    """Keeps sessions and messages in two tables; every operation is one statement.

    Holds under read committed, repeatable read and serializable alike, as the server or the
    role sets it. The schema is created at first use where it is missing; where it exists, a
    role needs USAGE on it and SELECT, INSERT, UPDATE, DELETE on its tables, no more.

    Args:
        pool: a `psycopg_pool.ConnectionPool` of the caller's, which `close` leaves open. How
            soon it connects, and again after an outage, is up to its settings: give it
            ``reconnect_timeout=0`` and its connections a ``connect_timeout``. `from_url` makes
            a pool of the store's own.
        namespace: sessions of different namespaces never meet.
        ttl: seconds or timedelta that a session lives after its last write; None: for ever.
        timeout: seconds within which every operation ends, with a result or an error.
        max_record_bytes: longest encoded message or context.
        schema: the Postgres schema that holds the tables and functions, of all namespaces.
        unlogged: create the tables UNLOGGED: faster, and emptied by a crash of the server
            (Postgres docs, CREATE TABLE). Tables that exist stay as they are.
        replicas: URL or URLs of servers that reads may ask too: every host in them is one, and
            one that takes writes is none the worse. Every read still sees all that this store
            has written or read before; a replica that is not that far yet, or does not answer
            in time, is passed over, and the primary asked within the same ``timeout``. Writes,
            locks, `ping` and the read of `update_context` are always the primary's. Not
            promised: that a read sees at once what other stores or processes wrote; and
            whether a session has expired is told by the clock of the server that answers, so
            keep the clocks together.
        max_connections: to each replica.
    """

    def __init__(
        self,
        pool: ConnectionPool[Connection[Any]] | Lender,
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
        self._preparing = Preparing() if isinstance(pool, OwnPool) else None
        self._lender: Lender = (
            CallersPool(pool, timeout / 2) if isinstance(pool, ConnectionPool) else pool
        )
        self._replicas: Replicas[Lender] = Replicas(
            [
                OwnPool(settings, max_connections, timeout / 4)
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
        """Return a store with a pool of its own for a ``postgresql://`` URL.

        Connects at the first call. When all ``max_connections`` are busy, a call waits a
        quarter of the timeout for one; connecting may take another quarter, shared by all hosts
        of the URL. Of several hosts the one that takes writes is used, also after another was
        promoted. Raises ValueError for a URL that libpq does not understand.
        """
        settings = connection_settings(url, timeout)
        return cls(
            OwnPool(settings, max_connections, timeout / 4),
            namespace=namespace,
            ttl=ttl,
            timeout=timeout,
            max_record_bytes=max_record_bytes,
            schema=schema,
            unlogged=unlogged,
            replicas=replicas,
            max_connections=max_connections,
        )

    def _carry(self, call: Call[Reply], deadline: float) -> Reply:
        assert isinstance(call, PostgresCall)
        question = self._replicas.question(call, deadline)
        rows = self._ask_replica(question) if question else None
        if rows is None:
            rows = self._ask_primary(call, deadline)
        result: Reply = call.parse(rows)
        return result

    def _ask_replica(self, question: Question[Lender]) -> Sequence[Row] | None:
        lender = question.replica.lender
        try:
            loan = lender.take(question.deadline)
            try:
                answers = _take(loan.pgconn, question.batch, question.deadline)
            finally:
                lender.give_back(loan)
        except (psycopg.Error, OSError) as error:
            lender.distrust()
            self._replicas.failed(question, error)
            return None
        return self._replicas.answered(question, answers)

    def _ask_primary(self, call: PostgresCall[Any], deadline: float) -> Sequence[Row]:
        try:
            loan = self._lender.take(deadline, writes=not call.reads)
        except (psycopg.Error, OSError) as error:
            raise not_sent(call.session_id, error) from error
        try:
            check_takes_writes(loan.pgconn, call)
            answers = self._talk(loan.pgconn, self._replicas.batch(call), deadline)
        except psycopg.Error as error:
            if misplaced(error):
                loan.pgconn.finish()
            if misplaced(error) or connection_lost(error):
                self._lender.distrust()
            raise failed(call, error) from error
        finally:
            self._lender.give_back(loan)
        self._replicas.learn(answers)
        return rows_of(answers[0])

    def _talk(self, pgconn: PGconn, batch: Batch, deadline: float) -> list[Answer]:
        steps = tries(batch, deadline, schema=self._schema, unlogged=self._unlogged)
        try:
            step = next(steps)
            while True:
                step = steps.send(_take(pgconn, step, deadline, self._preparing))
        except StopIteration as done:
            answers: list[Answer] = done.value
            return answers

    def _disconnect(self) -> None:
        for lender in [self._lender, *self._replicas.lenders]:
            lender.close()


def _take(
    pgconn: PGconn, step: Batch | Pause, deadline: float, preparing: Preparing | None = None
) -> list[Answer]:
    if isinstance(step, Pause):
        time.sleep(step.seconds)
        return []
    left = max(0.001, deadline - monotonic())
    return wait(exchange_all(pgconn, step, preparing), pgconn.socket, left)
