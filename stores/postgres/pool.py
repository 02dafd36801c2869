"""The store's own pool of connections, without I/O: permits, and idle connections.

psycopg_pool opens connections in background threads and tries again with growing pauses.
So a refused connection looks like a full pool, after the whole timeout, and the first call
after the server is back waits for the pause to end. Here the caller connects, and learns at
once why it cannot. There are no threads and no tasks: nothing to warn or to leak, nothing
that a fork would lose, and nothing that belongs to one event loop.
"""

from __future__ import annotations

import os
import select
from collections import deque
from concurrent.futures import Future
from threading import Lock

import psycopg
from psycopg.pq import ConnStatus, PipelineStatus, TransactionStatus
from psycopg.pq.abc import PGconn


class Pool:
    """Up to ``size`` connections, lent to threads or to coroutines of any event loop.

    Whoever wants a connection asks for a permit, which is granted in the order of asking;
    then takes an idle connection, or makes one; then gives both back.
    """

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"max_connections must be at least 1, not {size!r}")
        self._size = size
        self._start()

    def _start(self) -> None:
        self._lock = Lock()
        self._process = os.getpid()
        self._free = self._size
        self._waiting: deque[Future[None]] = deque()
        self._idle: list[PGconn] = []
        self.closed = False

    def ask(self) -> Future[None] | None:
        """Ask for a permit: None if it is granted, else a future to wait for. See `withdraw`."""
        if os.getpid() != self._process:
            # After a fork: the connections are the parent's. psycopg leaves them open there.
            closed = self.closed
            self._start()
            self.closed = closed
        with self._lock:
            if self._free:
                self._free -= 1
                return None
            permit: Future[None] = Future()
            self._waiting.append(permit)
        return permit

    def withdraw(self, permit: Future[None]) -> None:
        """Stop waiting for a permit, and give it back if it was granted meanwhile."""
        if not permit.cancel():
            self.give_back(None)

    def idle(self) -> PGconn | None:
        """Return the idle connection used last, if there is a live one.

        Liveness costs no round trip: a server that closed the connection, or that said
        anything unasked, has made its socket readable.
        """
        while True:
            with self._lock:
                if not self._idle:
                    return None
                pgconn = self._idle.pop()
            if is_quiet(pgconn):
                return pgconn
            pgconn.finish()

    def give_back(self, pgconn: PGconn | None) -> None:
        """Return a permit, and its connection unless a reply may be under way on it."""
        keep = pgconn is not None and is_done(pgconn)
        with self._lock:
            if pgconn is not None and keep and not self.closed:
                self._idle.append(pgconn)
            while self._waiting:
                permit = self._waiting.popleft()
                if permit.set_running_or_notify_cancel():
                    permit.set_result(None)
                    break
            else:
                self._free += 1
        if pgconn is not None and (not keep or self.closed):
            pgconn.finish()

    def distrust(self) -> None:
        """Close what is idle: one connection was lost, and the others probably with it."""
        with self._lock:
            idle, self._idle = self._idle, []
        for pgconn in idle:
            pgconn.finish()

    def close(self) -> None:
        """Close what is idle now, and what is lent when it comes back."""
        self.closed = True
        self.distrust()


def is_done(pgconn: PGconn) -> bool:
    """Say whether nothing is under way on the connection, so that it may be lent again."""
    idle = pgconn.transaction_status == TransactionStatus.IDLE
    no_pipeline = pgconn.pipeline_status == PipelineStatus.OFF
    return pgconn.status == ConnStatus.OK and idle and no_pipeline


def is_quiet(pgconn: PGconn) -> bool:
    """Say whether the server has sent nothing, not even the end of the connection."""
    try:
        poll = select.poll()
        poll.register(pgconn.socket, select.POLLIN)
        return not poll.poll(0)
    except (psycopg.Error, OSError):
        return False


def is_standby(pgconn: PGconn) -> bool:
    """Say whether the server has told that it takes no writes. It tells when that changes.

    What it has told since the last call is not known yet: a connection may be judged too hard.
    """
    return pgconn.parameter_status(b"in_hot_standby") == b"on"
