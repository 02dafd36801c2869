"""Deleting what has expired. Nobody can see it any more, but it still takes room."""

from __future__ import annotations

import logging
from contextlib import closing
from threading import Event, Lock, Thread
from time import monotonic
from types import TracebackType
from typing import Self

import psycopg
from psycopg.pq.abc import PGconn

from stores.postgres.creation import MISSING
from stores.postgres.driver import wait
from stores.postgres.exchange import RACES, exchange
from stores.postgres.settings import ConnectionSettings, connect, connection_settings
from stores.postgres.statements import SCHEMA, calling, schema_name

TIMEOUT = 10.0
"""Seconds that connecting and each batch may take."""
PATIENCE = 2.0
"""Seconds that stopping waits for the batch under way."""
KEPT_SECONDS = 1.0
"""How long a connection may wait for the next pass: a new one costs more than a pass does."""
MESSAGES_A_BATCH = 10_000
"""About 50 ms of work: as long as the writer who starts a swept session anew has to wait."""

log = logging.getLogger(__name__)


class _Line:
    """A connection that is made at its first use, and anew once it was closed."""

    def __init__(self, settings: ConnectionSettings) -> None:
        self._settings = settings
        self._pgconn: PGconn | None = None

    def open(self) -> PGconn:
        if self._pgconn is None:
            self._pgconn = connect(self._settings, TIMEOUT)
        return self._pgconn

    def close(self) -> None:
        if self._pgconn is not None:
            self._pgconn.finish()
            self._pgconn = None


class Sweeper:
    """Deletes expired sessions, and locks that nobody held for an hour, of all namespaces.

    A context manager that runs a daemon thread. It blocks no writer: it skips rows that
    others have locked, and deletes in batches. Any number may run at once. Passes that follow
    each other within a second share a connection while it lives; the others make their own.

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
        with closing(_Line(self._settings)) as line:
            return self._sweep(line, Event())

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
        with closing(_Line(self._settings)) as line:
            self._run_on(line, stop)

    def _run_on(self, line: _Line, stop: Event) -> None:
        failing = False
        while not stop.is_set():
            try:
                self._sweep(line, stop)
            except (psycopg.Error, OSError) as error:
                line.close()
                if not failing:
                    log.warning("cannot sweep, and will try on: %s", error)
                failing = True
            else:
                if failing:
                    log.info("sweeping again")
                failing = False
            if self._every > KEPT_SECONDS:
                line.close()
            stop.wait(self._every)

    def _sweep(self, line: _Line, stop: Event) -> int:
        with self._one_pass:
            pgconn = line.open()
            swept = self._all(pgconn, stop, "sweep_sessions_v1", self._batch, MESSAGES_A_BATCH)
            self._all(pgconn, stop, "sweep_locks_v1", self._batch)
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
