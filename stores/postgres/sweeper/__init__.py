"""Deleting what has expired. Nobody can see it any more, but it still takes room."""

from __future__ import annotations

import logging
from threading import Event, Lock, Thread
from time import monotonic
from types import TracebackType
from typing import Self

import psycopg
from psycopg.pq.abc import PGconn

from stores.postgres.creation import MISSING
from stores.postgres.driver import wait
from stores.postgres.exchange import RACES, exchange
from stores.postgres.settings import connect, connection_settings
from stores.postgres.statements import SCHEMA, calling, schema_name

TIMEOUT = 10.0
"""Seconds that connecting and each batch may take."""
PATIENCE = 2.0
"""Seconds that stopping waits for the batch under way."""
MESSAGES_A_BATCH = 10_000
"""About 50 ms of work: as long as the writer who starts a swept session anew has to wait."""

log = logging.getLogger(__name__)


class Sweeper:
    """Deletes expired sessions, and locks that nobody held for an hour, of all namespaces.

    A context manager that runs a daemon thread. It blocks no writer: it skips rows that
    others have locked, and deletes in batches. Any number may run at once. Each pass has a
    connection of its own, so that nothing is left of an outage when it is over.

    Args:
        url: a ``postgresql://`` URL.
        schema: as of the stores.
        every: seconds from the end of one pass to the start of the next.
        batch: most sessions deleted in one transaction.
    """

    def __init__(
        self, url: str, *, schema: str = SCHEMA, every: float = 30.0, batch: int = 500
    ) -> None:
        if not every > 0 or batch < 1:
            raise ValueError("every must be positive, and batch at least 1")
        self._settings = connection_settings(url, TIMEOUT)
        self._schema = schema_name(schema)
        self._every = every
        self._batch = batch
        self._stop = Event()
        self._thread: Thread | None = None
        self._one_pass = Lock()

    def sweep(self) -> int:
        """Do one full pass now; return the number of sessions deleted.

        Raises psycopg.Error where the server cannot be reached or refuses. A schema that does
        not exist has nothing to sweep.
        """
        return self._sweep(Event())

    def start(self) -> None:
        """Start the thread. Entering the context does it."""
        if self._thread:
            raise RuntimeError("this sweeper runs already")
        self._stop = Event()
        self._thread = Thread(
            target=self._run, args=(self._stop,), name="memory sweeper", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop after the batch under way, and wait a moment for that. Leaving the context does it.

        A thread that waits for a server which does not answer is left to end by itself.
        """
        self._stop.set()
        if self._thread:
            self._thread.join(PATIENCE)
            self._thread = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _run(self, stop: Event) -> None:
        failing = False
        while not stop.is_set():
            try:
                self._sweep(stop)
            except (psycopg.Error, OSError) as error:
                if not failing:
                    log.warning("cannot sweep, and will try on: %s", error)
                failing = True
            else:
                if failing:
                    log.info("sweeping again")
                failing = False
            stop.wait(self._every)

    def _sweep(self, stop: Event) -> int:
        with self._one_pass:
            pgconn = connect(self._settings, TIMEOUT)
            try:
                sessions = ("sweep_sessions_v1", self._batch, MESSAGES_A_BATCH)
                swept = self._all(pgconn, stop, *sessions)
                self._all(pgconn, stop, "sweep_locks_v1", self._batch)
            finally:
                pgconn.finish()
            return swept

    def _all(self, pgconn: PGconn, stop: Event, function: str, *values: int) -> int:
        """Call a sweeping function until it finds nothing more; return the sum."""
        statement = calling(self._schema, function, *values)
        swept = 0
        give_up = monotonic() + TIMEOUT
        while True:
            try:
                rows = wait(exchange(pgconn, statement), pgconn.socket, TIMEOUT)
            except psycopg.Error as error:
                if error.sqlstate in MISSING:
                    return swept
                if error.sqlstate in RACES and monotonic() < give_up:
                    continue
                raise
            if not rows[0][0] or stop.is_set():
                return swept + int(rows[0][0])
            swept += int(rows[0][0])
            give_up = monotonic() + TIMEOUT
