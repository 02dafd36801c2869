"""Creating the schema: when a statement finds it missing, and never before."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Generator, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import psycopg
from psycopg import sql

from stores.postgres.statements import Answer, Batch, Row, Statement

MISSING = frozenset({"3F000", "42P01", "42883"})
"""SQLSTATEs of an unknown schema, table or function (Postgres docs, Error Codes)."""

_PARTS = ("tables", "writes", "reads", "locks", "sweep")
_NAMES = re.compile(
    r"^CREATE .*?(?:TABLE|INDEX|FUNCTION)(?: IF NOT EXISTS)? (?:{schema}\.)?(\w+)", re.MULTILINE
)


def create(schema: str, *, unlogged: bool) -> Generator[Batch, list[Answer], None]:
    """Create what is missing of the schema in one transaction: yields its statements.

    An advisory lock, keyed by the schema's name, lets processes that start at once on a
    fresh database do it one after the other; it is taken without any other lock in hand, and
    what is complete is not touched, so nobody can end in a deadlock. The transaction is read
    committed whatever the server's default is: who waited must see what the first has made.
    """
    digest = hashlib.sha256(b"stores.postgres:" + schema.encode()).digest()
    key = int.from_bytes(digest[:8], signed=True)
    yield from _run(b"BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock(%d)" % key)
    try:
        names = _NAMES.findall(_text())
        rows = yield from _run(
            b"SELECT count(*) FROM"
            b" (SELECT relname, relnamespace FROM pg_class"
            b" UNION SELECT proname, pronamespace FROM pg_proc) AS made (name, namespace)"
            b" JOIN pg_namespace ON pg_namespace.oid = namespace"
            b" WHERE nspname = $1::text AND name = ANY($2::text[])",
            (schema, names),
        )
        if rows[0][0] < len(names):
            yield from _run(_script(schema, unlogged=unlogged))
    except psycopg.Error as error:
        if error.sqlstate is not None:  # else there is no server any more to tell it
            yield from _run(b"ROLLBACK")
        raise
    yield from _run(b"COMMIT")


def _run(
    text: bytes, values: Sequence[Any] | None = None
) -> Generator[Batch, list[Answer], Sequence[Row]]:
    (rows,) = yield (Statement(text, values),)
    if isinstance(rows, psycopg.Error):
        raise rows
    return rows


@cache
def _text() -> str:
    folder = files("stores.postgres").joinpath("schema")
    return "\n".join(folder.joinpath(f"{part}.sql").read_text() for part in _PARTS)


def _script(schema: str, *, unlogged: bool) -> bytes:
    text = sql.SQL(_text())
    return text.format(
        schema=sql.Identifier(schema),
        name=sql.Literal(schema),
        unlogged=sql.SQL("UNLOGGED" if unlogged else ""),
    ).as_bytes(None)
