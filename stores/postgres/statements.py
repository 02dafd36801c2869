"""The Postgres side of every operation: statements, values and row parsing. No I/O.

Each operation is one call of a function in schema/*.sql: one statement, one transaction,
one round trip. A function's name carries the schema version it came with, so that a later
release can add others while this one still runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, TypeVar

import psycopg
from psycopg import sql

from stores.calls import (
    Appended,
    Busy,
    Call,
    Fenced,
    Held,
    Page,
    PartlyStored,
    RawContext,
    RawMessage,
    RawSession,
    Stale,
)
from stores.checks import MAX_NAMESPACE_BYTES, check_text
from stores.errors import CorruptRecord
from stores.postgres.preparing import name_of

SCHEMA = "agent_memory"
"""The Postgres schema of the tables and functions, unless another is named."""
PAGE = 500
"""Session ids read at once."""
MAX_SCHEMA_BYTES = 63
"""Postgres cuts longer names off (its docs, Lexical Structure)."""

Row = Sequence[Any]
Answer = Sequence[Row] | psycopg.Error
"""What a statement of a batch gave."""
Reply_co = TypeVar("Reply_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement with the values of its $1, $2…; a script where there are none to give.

    One with a name is worth preparing under it (`stores.postgres.preparing`).
    """

    text: bytes
    values: Sequence[Any] | None = None
    name: bytes | None = None


Batch = tuple[Statement, ...]
"""Statements sent at once, in one round trip, each a transaction of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresCall(Call[Reply_co]):
    """A call as Postgres takes it. ``reads`` says that it changes nothing in any case."""

    statement: Statement
    reads: bool = False


class PostgresStatements:
    """`stores.calls.Commands` for Postgres 15 and later."""

    def __init__(self, namespace: str, *, schema: str = SCHEMA) -> None:
        check_text("namespace", namespace, MAX_NAMESPACE_BYTES)
        self._namespace = namespace.encode()
        self._schema = schema_name(schema)

    def append(
        self, session_id: str, entries: Sequence[tuple[str, bytes]], ttl_ms: int, fence: int | None
    ) -> Call[Appended | PartlyStored | Fenced]:
        ids = [message_id.encode() for message_id, _ in entries]
        records = [record for _, record in entries]
        parse = partial(_appended, records)
        return self._call("append_v1", session_id, parse, ids, records, ttl_ms, fence)

    def history(
        self, session_id: str, limit: int | None, before: int | None
    ) -> Call[list[RawMessage]]:
        return self._call("history_v1", session_id, _messages, limit, before, reads=True)

    def save_context(
        self,
        session_id: str,
        record: bytes,
        if_version: int | None,
        write_id: str,
        ttl_ms: int,
        fence: int | None,
    ) -> Call[int | Stale | Fenced]:
        return self._call(
            "save_v1",
            session_id,
            _saved,
            record,
            if_version,
            write_id.encode(),
            ttl_ms,
            fence,
            # Unguarded, a late second copy could overwrite what others saved in between.
            repeatable=if_version is not None,
        )

    def load_context(self, session_id: str) -> Call[RawContext | None]:
        return self._call("context_v1", session_id, _context, reads=True)

    def load_session(self, session_id: str, limit: int | None) -> Call[RawSession | None]:
        return self._call("load_v1", session_id, _session, limit, reads=True)

    def delete_session(self, session_id: str, fence: int | None) -> Call[bool | Fenced]:
        return self._call("delete_v1", session_id, _deleted, fence, repeatable=False)

    def set_ttl(self, session_id: str, ttl_ms: int) -> Call[bool]:
        return self._call("set_ttl_v1", session_id, _yes, ttl_ms)

    def get_ttl(self, session_id: str) -> Call[int | None]:
        return self._call("get_ttl_v1", session_id, _remaining, reads=True)

    def acquire(self, session_id: str, owner: str, lease_ms: int) -> Call[Held | Busy]:
        return self._call("acquire_v1", session_id, _acquired, owner.encode(), lease_ms)

    def renew(self, session_id: str, owner: str, lease_ms: int) -> Call[bool]:
        return self._call("renew_v1", session_id, _yes, owner.encode(), lease_ms)

    def release(self, session_id: str, owner: str) -> Call[bool]:
        # Not repeatable: a second try cannot tell "freed by the first" from "lost before".
        return self._call("release_v1", session_id, _yes, owner.encode(), repeatable=False)

    def sessions(self, cursor: Any) -> Call[Page]:
        return PostgresCall(
            session_id="*",
            repeatable=True,
            reads=True,
            parse=_page,
            statement=calling(self._schema, "sessions_v1", self._namespace, cursor or b"", PAGE),
        )

    def ping(self) -> Call[None]:
        return PostgresCall(
            session_id="*",
            repeatable=True,
            reads=True,
            newest=True,
            parse=lambda _: None,
            statement=Statement(b"SELECT 1", ()),
        )

    def _call(
        self,
        function: str,
        session_id: str,
        parse: Callable[[str, Sequence[Row]], Reply_co],
        *values: Any,
        repeatable: bool = True,
        reads: bool = False,
    ) -> PostgresCall[Reply_co]:
        return PostgresCall(
            session_id=session_id,
            repeatable=repeatable,
            reads=reads,
            parse=partial(parse, session_id),
            statement=calling(
                self._schema, function, self._namespace, session_id.encode(), *values
            ),
        )


def schema_name(schema: str) -> bytes:
    """Return the name quoted; raise ValueError if it cannot be a schema's."""
    check_text("schema", schema, MAX_SCHEMA_BYTES)
    if "\0" in schema or "$" in schema:
        # A dollar could end the quotes around a function's body.
        raise ValueError(f"schema must not contain NUL or $: {schema!r}")
    return sql.Identifier(schema).as_bytes(None)


def calling(schema: bytes, function: str, *values: Any) -> Statement:
    """Return the statement that calls a function of the schema."""
    text, name = _calling(schema, function, len(values))
    return Statement(text, values, name)


@cache
def _calling(schema: bytes, function: str, count: int) -> tuple[bytes, bytes]:
    places = ", ".join(f"${place}" for place in range(1, count + 1))
    text = b"SELECT * FROM %s.%s(%s)" % (schema, function.encode(), places.encode())
    return text, name_of(text)


def _yes(_: str, rows: Sequence[Row]) -> bool:
    return bool(rows[0][0])


def _appended(
    records: Sequence[bytes], session_id: str, rows: Sequence[Row]
) -> Appended | PartlyStored | Fenced:
    verdict, number, stored_at, _ = rows[0]
    if verdict == "fenced":
        return Fenced(number)
    if verdict == "partly":
        return PartlyStored()
    if verdict == "stored":
        return Appended(
            [
                RawMessage(position, stored_at, record)
                for position, record in enumerate(records, number)
            ]
        )
    return Appended([_message(session_id, row[1:]) for row in rows])


def _messages(session_id: str, rows: Sequence[Row]) -> list[RawMessage]:
    """Read the range asked for and what the server has of it; a gap is one missing message."""
    if not rows:
        return []
    first, last, _ = rows[0]
    messages = []
    expected = first
    for row in rows[1:]:
        message = _message(session_id, row)
        if message.position > expected:
            messages.append(RawMessage(expected, 0, None))
        messages.append(message)
        expected = message.position + 1
    if expected <= last:
        messages.append(RawMessage(expected, 0, None))
    return messages


def _message(session_id: str, row: Row) -> RawMessage:
    position, stored_at, record = row
    if position < 1 or stored_at is None or stored_at < 0:
        raise CorruptRecord(
            f"stored_at is {stored_at} microseconds",
            session_id=session_id,
            position=position,
            raw=record,
        )
    return RawMessage(position, stored_at, record)


def _saved(_: str, rows: Sequence[Row]) -> int | Stale | Fenced:
    verdict, number = rows[0]
    if verdict == "fenced":
        return Fenced(number)
    return Stale(number) if verdict == "stale" else int(number)


def _context(session_id: str, rows: Sequence[Row]) -> RawContext | None:
    if not rows:
        return None
    version, record = rows[0]
    if record is None and version is None:
        return None
    if record is None or version is None or version < 1:
        raise CorruptRecord(
            f"the context and its version ({version!r}) do not belong together",
            session_id=session_id,
            raw=record,
        )
    return RawContext(record, version)


def _session(session_id: str, rows: Sequence[Row]) -> RawSession | None:
    if not rows:
        return None
    version, _, record = rows[0]
    context = _context(session_id, [(version, record)])
    return RawSession(_messages(session_id, rows[1:]), context)


def _deleted(_: str, rows: Sequence[Row]) -> bool | Fenced:
    verdict, number = rows[0]
    return Fenced(number) if verdict == "fenced" else bool(number)


def _acquired(_: str, rows: Sequence[Row]) -> Held | Busy:
    verdict, number = rows[0]
    return Held(number) if verdict == "held" else Busy(number)


def _remaining(_: str, rows: Sequence[Row]) -> int | None:
    return int(rows[0][0]) if rows else None


def _page(rows: Sequence[Row]) -> Page:
    names = [session_id.decode(errors="replace") for (session_id,) in rows]
    return Page(names, rows[-1][0] if len(rows) == PAGE else None)
