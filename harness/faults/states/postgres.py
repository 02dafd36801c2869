"""States of a running Postgres in which it refuses calls (Postgres docs: Server Administration)."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from harness.inspectors.postgres import READ_COMMITTED
from harness.polling import eventually

if TYPE_CHECKING:
    from harness.servers import OneServer

SIGNAL_FILE = "standby.signal"
HOLD_FILE = "hold_recovery"
"""A pipe in the data directory: recovery waits for its end as long as it is there."""
HELD = f"[ ! -p {HOLD_FILE} ] || read -r end < {HOLD_FILE}; false"
PLAIN = f"-c default_transaction_read_only=off {READ_COMMITTED}"
"""Options that work in whatever state the server is in."""
STATES: tuple[str, ...] = ("read-only", "shutting down", "starting up", "standby")
OTHERS = "FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
SEGMENTS = 20
"""More than the WAL segments that a small server keeps to be used again."""


class PostgresStates:
    """`harness.faults.states.States` of Postgres. The last three share one restart."""

    def __init__(self, server: OneServer, folder: str) -> None:
        """``folder`` is the data directory's place in the server's data."""
        self._server = server
        self._folder = folder

    def rounds(self) -> Iterator[Generator[str, None, None]]:
        yield self._reconfiguring()
        yield self._restarting()

    def _reconfiguring(self) -> Generator[str, None, None]:
        with self._read_only():
            yield "read-only"

    def hold(self, name: str) -> AbstractContextManager[None]:
        return self._read_only() if name == "read-only" else self._until(name)

    def memory_limit(self, room: int) -> AbstractContextManager[None]:
        raise NotImplementedError("matrix.toml says that Postgres lacks memory_pressure")

    def age(self, namespace: str, seconds: int) -> None:
        raise NotImplementedError("matrix.toml says that Postgres lacks eviction")

    def use_disk(self) -> None:
        """Go to the next WAL segments until there is no space for one."""
        with suppress(psycopg.OperationalError), self._connection() as connection:
            # What was answered before is on the disk then, even if commits wait for nothing.
            connection.execute("SET synchronous_commit = on")
            for _ in range(SEGMENTS):
                connection.execute("SELECT pg_logical_emit_message(true, 'use', 'the disk')")
                connection.execute("SELECT pg_switch_wal()")

    def after_full_disk(self) -> None:
        """End a server whose recovery has failed: it may wait 5 s for children of its own."""
        if self._refuses(""):
            self._server.kill()

    @contextmanager
    def _until(self, name: str) -> Iterator[None]:
        with closing(self._restarting()) as states:
            for state in states:
                if state == name:
                    yield
                    return

    @contextmanager
    def _read_only(self) -> Iterator[None]:
        with self._connection() as connection:
            try:
                connection.execute("ALTER SYSTEM SET default_transaction_read_only = on")
                self._reload(connection, "default_transaction_read_only", "on")
                yield
            finally:
                connection.execute("ALTER SYSTEM RESET default_transaction_read_only")
                self._reload(connection, "default_transaction_read_only", "off")

    def _restarting(self) -> Generator[str, None, None]:
        """Restart the server as a standby, slowly, and promote it: yield what it is on the way."""
        data = self._server.data / self._folder
        with self._connection() as connection:
            connection.execute(
                sql.SQL("ALTER SYSTEM SET restore_command = {}").format(sql.Literal(HELD))
            )
        ending = False
        try:
            with self._connection() as open_session:  # a smart shutdown waits for it
                self._end_others(open_session)
                ending = True
                os.kill(self._server.pid, signal.SIGTERM)
                assert eventually(lambda: self._refuses("the database system is shutting down"), 10)
                yield "shutting down"
            self._server.stop()
            ending = False
            _create(data / SIGNAL_FILE, Path.touch)
            _create(data / HOLD_FILE, os.mkfifo)
            self._server.launch()
            assert eventually(lambda: self._refuses("the database system is starting up"), 10)
            yield "starting up"
            _let_go(data / HOLD_FILE)
            self._server.start()
            yield "standby"
        finally:
            _let_go(data / HOLD_FILE)
            if ending:
                self._server.stop()
            self._server.start()
            with self._connection() as connection:
                connection.execute("SELECT pg_is_in_recovery() AND pg_promote()")
                connection.execute("ALTER SYSTEM RESET restore_command")
                connection.execute("SELECT pg_reload_conf()")

    def _end_others(self, connection: psycopg.Connection[Any]) -> None:
        """End all other connections: who has one is served to its end in a smart shutdown."""
        cursor = connection.execute(f"SELECT pid, pg_terminate_backend(pid) {OTHERS}")
        ended = [pid for pid, _ in cursor]
        query = f"SELECT 1 {OTHERS} AND pid = ANY(%s)"
        assert eventually(lambda: not connection.execute(query, [ended]).fetchall(), 10)

    def _reload(self, connection: psycopg.Connection[Any], name: str, value: str) -> None:
        """Read the configuration again; return once new connections have the setting."""
        connection.execute("SELECT pg_reload_conf()")
        assert eventually(lambda: self._shown(name) == value, 10)

    def _shown(self, name: str) -> str:
        with psycopg.connect(self._server.url) as fresh:
            row = fresh.execute("SELECT current_setting(%s)", [name]).fetchone()
        return str(row and row[0])

    def _refuses(self, why: str) -> bool:
        try:
            psycopg.connect(self._server.url, connect_timeout=10).close()
        except psycopg.OperationalError as error:
            return why in str(error)
        return False

    def _connection(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self._server.url, autocommit=True, connect_timeout=30, options=PLAIN)


def _create(path: Path, make: Callable[[Path], object]) -> None:
    """Create an empty file or a pipe that the server may change, too."""
    make(path)
    owner = path.parent.stat()
    os.chown(path, owner.st_uid, owner.st_gid)


def _let_go(pipe: Path) -> None:
    """Remove a pipe, and let those who read it go on. Doing so twice is fine."""
    with suppress(FileNotFoundError):
        end = os.open(pipe, os.O_RDWR)  # opened so, it waits for nobody
        pipe.unlink()
        os.close(end)
