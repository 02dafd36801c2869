"""`PostgresStore`: the memory of agents in Postgres, blocking."""

from __future__ import annotations

import time
from collections.abc import Sequence
from time import monotonic
from typing import Any, Self, TypeVar

import psycopg
from psycopg import Connection
from psycopg.pq.abc import PGconn
from psycopg.waiting import wait
from psycopg_pool import ConnectionPool

from stores.calls import Call, Pause
from stores.interface import Seconds
from stores.plans import Plans
from stores.postgres.exchange import exchange, tries
from stores.postgres.failures import connection_lost, failed, not_sent
from stores.postgres.lending import CallersPool, Lender, OwnPool
from stores.postgres.settings import CHECK_INTERVAL, MAX_RECORD_BYTES, connection_settings
from stores.postgres.statements import (
    SCHEMA,
    PostgresCall,
    PostgresStatements,
    Row,
    Statement,
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
    ) -> None:
        statements = PostgresStatements(namespace, schema=schema)
        super().__init__(
            Plans(statements, ttl=ttl, timeout=timeout, max_record_bytes=max_record_bytes)
        )
        self._schema = schema
        self._unlogged = unlogged
        self._lender: Lender = (
            CallersPool(pool, timeout / 2) if isinstance(pool, ConnectionPool) else pool
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
        """Return a store with a pool of its own for a ``postgresql://`` URL.

        Connects at the first call. When all ``max_connections`` are busy, a call waits a
        quarter of the timeout for one; connecting may take another quarter. Raises ValueError
        for a URL that libpq does not understand.
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
        )

    def _carry(self, call: Call[Reply], deadline: float) -> Reply:
        assert isinstance(call, PostgresCall)
        try:
            loan = self._lender.take(deadline)
        except (psycopg.Error, OSError) as error:
            raise not_sent(call.session_id, error) from error
        try:
            rows = self._talk(loan.pgconn, call, deadline)
        except psycopg.Error as error:
            if connection_lost(error):
                self._lender.distrust()
            raise failed(call, error) from error
        finally:
            self._lender.give_back(loan)
        result: Reply = call.parse(rows)
        return result

    def _talk(self, pgconn: PGconn, call: PostgresCall[Any], deadline: float) -> Sequence[Row]:
        steps = tries(call.statement, deadline, schema=self._schema, unlogged=self._unlogged)
        try:
            step = next(steps)
            while True:
                try:
                    rows = _take(pgconn, step, deadline)
                except psycopg.Error as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(rows)
        except StopIteration as done:
            result: Sequence[Row] = done.value
            return result

    def _disconnect(self) -> None:
        self._lender.close()


def _take(pgconn: PGconn, step: Statement | Pause, deadline: float) -> Sequence[Row] | None:
    if isinstance(step, Pause):
        time.sleep(step.seconds)
        return None
    left = max(0.001, deadline - monotonic())
    return wait(exchange(pgconn, step), pgconn.socket, CHECK_INTERVAL, left)
