"""langchain-postgres' PostgresChatMessageHistory.

Connections and the creation of tables are the application's: here a connection for each thread,
made anew where it is closed, and a lock while tables are created. Sessions are named by UUIDs,
tables by words: both are made of the names that the contracts use.

Its documentation says that it is "designed for prototyping applications", and that messages "are
sorted by the id (which should be increasing monotonically), and correspond to the order in which
the messages were added to the history".
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from threading import local
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import psycopg
from langchain_postgres import PostgresChatMessageHistory

from stores import MemoryStore, Message, Session, StoredMessage
from subjects.langchain_words import ours, theirs
from subjects.words import load, part, places, reading, writing

ERRORS = (psycopg.Error,)


class LangchainPostgres(MemoryStore):
    """`PostgresChatMessageHistory`, on a connection for each thread."""

    features = frozenset({"history"})

    def __init__(self, url: str, *, namespace: str, timeout: float = 5, **_: Any) -> None:
        milliseconds = math.ceil(timeout * 1000)
        self._table = f"history_{hashlib.sha256(namespace.encode()).hexdigest()[:16]}"
        self._connect = partial(
            psycopg.connect,
            url,
            connect_timeout=math.ceil(timeout),
            options=f"-c statement_timeout={milliseconds}",
        )
        self._own = local()
        self._opened: list[psycopg.Connection] = []
        self._ready = False

    def append_message(
        self, session_id: str, message: Message, *, fence: int | None = None
    ) -> StoredMessage:
        with writing(ERRORS), self._history(session_id) as history:
            history.add_message(theirs(message))
        return places([message], self.get_history(session_id, None))[0]

    def append_messages(
        self, session_id: str, messages: Sequence[Message], *, fence: int | None = None
    ) -> list[StoredMessage]:
        with writing(ERRORS), self._history(session_id) as history:
            history.add_messages([theirs(message) for message in messages])
        return places(messages, self.get_history(session_id, None))

    def get_history(
        self, session_id: str, limit: int | None = 100, before: int | None = None
    ) -> list[StoredMessage]:
        with reading(ERRORS), self._history(session_id) as history:
            return part(ours(history.get_messages()), limit, before)

    def load_session(self, session_id: str, limit: int | None = 100) -> Session | None:
        return load(self, session_id, limit)

    def ping(self) -> None:
        with reading(ERRORS), self._connection() as connection:
            connection.execute("SELECT 1")

    def close(self) -> None:
        for connection in self._opened:
            connection.close()

    @contextmanager
    def _connection(self) -> Iterator[psycopg.Connection]:
        """Give the thread's connection, and end what transaction an error has left."""
        connection: psycopg.Connection | None = getattr(self._own, "connection", None)
        if connection is None or connection.closed:
            connection = self._own.connection = self._connect()
            self._opened.append(connection)
        try:
            yield connection
            connection.commit()
        except BaseException:
            if not connection.closed:
                connection.rollback()
            raise

    @contextmanager
    def _history(self, session_id: str) -> Iterator[PostgresChatMessageHistory]:
        with self._connection() as connection:
            if not self._ready:
                connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [self._table])
                PostgresChatMessageHistory.create_tables(connection, self._table)
                self._ready = True
            named = str(uuid5(NAMESPACE_URL, session_id))
            yield PostgresChatMessageHistory(self._table, named, sync_connection=connection)
