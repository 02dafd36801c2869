"""langchain-postgres' PostgresChatMessageHistory.

Connections and the creation of tables are the application's: here a connection for each call, and
a lock while tables are created. Sessions are named by UUIDs, tables by words: both are made of the
names that the contracts use.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import psycopg
from langchain_postgres import PostgresChatMessageHistory

from stores import MemoryStore, Message, Session, StoredMessage
from subjects.langchain_words import ours, theirs
from subjects.words import load, part, places, reading, writing

ERRORS = (psycopg.Error,)


class LangchainPostgres(MemoryStore):
    """`PostgresChatMessageHistory`, on a connection of its own for each call."""

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
        with reading(ERRORS), self._connect() as connection:
            connection.execute("SELECT 1")

    def close(self) -> None:
        """Do nothing: no connection outlives its call."""

    @contextmanager
    def _history(self, session_id: str) -> Iterator[PostgresChatMessageHistory]:
        with self._connect() as connection:
            if not self._ready:
                connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [self._table])
                PostgresChatMessageHistory.create_tables(connection, self._table)
                self._ready = True
            named = str(uuid5(NAMESPACE_URL, session_id))
            yield PostgresChatMessageHistory(self._table, named, sync_connection=connection)
