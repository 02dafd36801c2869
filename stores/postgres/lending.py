"""Where a store borrows its connections: from its own pool, or from one of the caller's."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from time import monotonic
from typing import Any, Protocol

from psycopg import AsyncConnection, Connection
from psycopg.pq.abc import PGconn
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from stores.errors import StoreClosed
from stores.postgres.pool import Pool, is_done, is_quiet, is_standby
from stores.postgres.settings import ConnectionSettings, connect, connect_async

STALE_TRIES = 100
"""Connections of a caller's pool that are looked at for one that the server has not closed."""


@dataclass(frozen=True, slots=True)
class Loan:
    """A connection on loan, and the caller's own object around it if it has one."""

    pgconn: PGconn
    connection: Any = None


class Lender(Protocol):
    """Lends connections to threads."""

    def take(self, deadline: float, *, writes: bool = False) -> Loan:
        """Lend one. Raises psycopg.Error or OSError (TimeoutError too), then none is out.

        To write, one to a standby will not do if another can be had.
        """

    def give_back(self, loan: Loan) -> None:
        """Take it back, and close it unless everything on it is done."""

    def distrust(self) -> None:
        """Learn that a connection was lost."""

    def close(self) -> None:
        """Close what the lender itself has opened."""


class AsyncLender(Protocol):
    """`Lender`, awaited where it may wait."""

    async def take(self, deadline: float, *, writes: bool = False) -> Loan:
        """See `Lender.take`."""

    async def give_back(self, loan: Loan) -> None:
        """See `Lender.give_back`."""

    def distrust(self) -> None:
        """See `Lender.distrust`."""

    def close(self) -> None:
        """See `Lender.close`."""


class OwnPool:
    """Lends from a pool of the store's. Waiting and connecting may take ``patience`` s each."""

    def __init__(self, settings: ConnectionSettings, size: int, patience: float) -> None:
        self._pool = Pool(size)
        self._settings = settings
        self._patience = patience

    def take(self, deadline: float, *, writes: bool = False) -> Loan:
        """See `Lender.take`."""
        if permit := self._pool.ask():
            try:
                permit.result(_within(deadline, self._patience))
            except TimeoutError as error:
                self._pool.withdraw(permit)
                raise _all_busy() from error
            except BaseException:
                self._pool.withdraw(permit)
                raise
        try:
            _check_open(self._pool)
            pgconn = self._pool.idle()
            return Loan(pgconn or connect(self._settings, _within(deadline, self._patience)))
        except BaseException:
            self._pool.give_back(None)
            raise

    def give_back(self, loan: Loan) -> None:
        """See `Lender.give_back`."""
        self._pool.give_back(loan.pgconn)

    def distrust(self) -> None:
        """See `Lender.distrust`."""
        self._pool.distrust()

    def close(self) -> None:
        """See `Lender.close`."""
        self._pool.close()


class AsyncOwnPool:
    """`OwnPool`, awaited."""

    def __init__(self, settings: ConnectionSettings, size: int, patience: float) -> None:
        self._pool = Pool(size)
        self._settings = settings
        self._patience = patience

    async def take(self, deadline: float, *, writes: bool = False) -> Loan:
        """See `Lender.take`."""
        if permit := self._pool.ask():
            try:
                async with asyncio.timeout(_within(deadline, self._patience)):
                    await asyncio.wrap_future(permit)
            except TimeoutError as error:
                self._pool.withdraw(permit)
                raise _all_busy() from error
            except BaseException:
                self._pool.withdraw(permit)
                raise
        try:
            _check_open(self._pool)
            pgconn = self._pool.idle()
            if pgconn is None:
                pgconn = await connect_async(self._settings, _within(deadline, self._patience))
            return Loan(pgconn)
        except BaseException:
            self._pool.give_back(None)
            raise

    async def give_back(self, loan: Loan) -> None:
        """See `Lender.give_back`."""
        self._pool.give_back(loan.pgconn)

    def distrust(self) -> None:
        """See `Lender.distrust`."""
        self._pool.distrust()

    def close(self) -> None:
        """See `Lender.close`."""
        self._pool.close()


class CallersPool:
    """Lends from a pool of the caller's, and leaves it open. It may take ``patience`` seconds."""

    def __init__(self, pool: ConnectionPool[Connection[Any]], patience: float) -> None:
        self._pool = pool
        self._patience = patience

    def take(self, deadline: float, *, writes: bool = False) -> Loan:
        """See `Lender.take`."""
        for tried in range(STALE_TRIES):
            connection = self._pool.getconn(_within(deadline, self._patience))
            left_behind = writes and tried < self._pool.max_size and is_standby(connection.pgconn)
            if is_quiet(connection.pgconn) and not left_behind:
                break
            connection.close()
            self._pool.putconn(connection)
        return Loan(connection.pgconn, connection)

    def give_back(self, loan: Loan) -> None:
        """See `Lender.give_back`."""
        if not is_done(loan.pgconn):
            loan.connection.close()
        self._pool.putconn(loan.connection)

    def distrust(self) -> None:
        """See `Lender.distrust`. The pool's other connections are the caller's to judge."""

    def close(self) -> None:
        """See `Lender.close`."""


class AsyncCallersPool:
    """`CallersPool`, awaited."""

    def __init__(self, pool: AsyncConnectionPool[AsyncConnection[Any]], patience: float) -> None:
        self._pool = pool
        self._patience = patience

    async def take(self, deadline: float, *, writes: bool = False) -> Loan:
        """See `Lender.take`."""
        for tried in range(STALE_TRIES):
            connection = await self._pool.getconn(_within(deadline, self._patience))
            left_behind = writes and tried < self._pool.max_size and is_standby(connection.pgconn)
            if is_quiet(connection.pgconn) and not left_behind:
                break
            await connection.close()
            await self._pool.putconn(connection)
        return Loan(connection.pgconn, connection)

    async def give_back(self, loan: Loan) -> None:
        """See `Lender.give_back`."""
        if not is_done(loan.pgconn):
            await loan.connection.close()
        # Shielded: a caller who is cancelled just now must not keep the connection.
        await asyncio.shield(self._pool.putconn(loan.connection))

    def distrust(self) -> None:
        """See `CallersPool.distrust`."""

    def close(self) -> None:
        """See `Lender.close`."""


def _within(deadline: float, patience: float) -> float:
    return max(0.001, min(patience, deadline - monotonic()))


def _all_busy() -> TimeoutError:
    return TimeoutError("all connections are busy")


def _check_open(pool: Pool) -> None:
    if pool.closed:
        raise StoreClosed("the store was closed")
