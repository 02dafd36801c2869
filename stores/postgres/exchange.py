"""Talking with one connection: how a call is sent, and when it is sent again. No waiting.

This speaks `psycopg.pq`, the layer below psycopg's cursors. So an exchange is the same for
both faces and for connections of the caller's, whatever is set on them; its time is bounded
to the millisecond; a cancelled one is dropped at once instead of being negotiated with a
server that may be gone; and what is prepared on the server is forgiven for being forgotten
there, as it is behind a transaction-pooling proxy.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Generator, Mapping, Sequence
from time import monotonic
from typing import Any, Final

import psycopg
from psycopg import generators
from psycopg.abc import PQGen
from psycopg.abc import Transformer as Reader
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, Format
from psycopg.pq.abc import PGconn, PGresult

from stores.calls import Pause
from stores.postgres.creation import MISSING, create
from stores.postgres.failures import connection_lost
from stores.postgres.preparing import NOT_KEPT, Preparing
from stores.postgres.statements import Answer, Batch, Row, Statement


def _array(values: Sequence[Any]) -> bytes:
    """Dump a list of text or of bytes. Its header: one dimension, no NULLs, the items' type."""
    of_text = bool(values) and type(values[0]) is str
    items = [value.encode() if of_text else value for value in values]
    header = struct.pack("!iiIii", 1, 0, TEXT if of_text else BYTEA, len(items), 1)
    return header + b"".join(struct.pack("!i", len(item)) + item for item in items)


UNKNOWN, BYTEA, BIGINT, TEXT = 0, 17, 20, 25
"""Types by their OID in pg_type."""
DUMPERS: Final[Mapping[type, tuple[int, Callable[[Any], Any]]]] = {
    bytes: (BYTEA, lambda value: value),
    int: (BIGINT, lambda value: value.to_bytes(8, signed=True)),
    str: (TEXT, str.encode),
    type(None): (UNKNOWN, lambda value: value),
    list: (UNKNOWN, _array),
}
"""How values are sent: psycopg's own way to the same bytes takes longer than the server does."""
RACES = frozenset({"40001", "40P01"})
"""Serialization failure and deadlock: rolled back, to be tried again (Postgres docs, 13.5)."""
RACE_PAUSE_SECONDS = (0.001, 0.050)
"""After a lost race the pause is random up to the first bound, which doubles up to the second."""


def exchange(pgconn: PGconn, statement: Statement) -> PQGen[list[Row]]:
    """Send a statement and return its rows; raises psycopg.Error. For psycopg's wait functions."""
    rows = yield from _one(pgconn, statement, None)
    if isinstance(rows, psycopg.Error):
        raise rows
    return rows


def exchange_all(
    pgconn: PGconn, batch: Batch, preparing: Preparing | None = None
) -> PQGen[list[Answer]]:
    """Send statements at once, each a transaction of its own; return the rows or error of each.

    Raises psycopg.Error if the connection breaks.
    """
    if len(batch) == 1:
        return [(yield from _one(pgconn, batch[0], preparing))]
    pgconn.enter_pipeline_mode()
    for statement in batch:
        _send(pgconn, statement)
        pgconn.pipeline_sync()
    yield from generators.send(pgconn)
    answers: list[Answer] = []
    while len(answers) < len(batch):
        answers += [_rows((yield from _until_sync(pgconn)))]
    pgconn.exit_pipeline_mode()
    return answers


def _one(
    pgconn: PGconn, statement: Statement, preparing: Preparing | None
) -> PQGen[list[Row] | psycopg.Error]:
    name = statement.name
    if preparing is None or not preparing.works or name is None:
        _send(pgconn, statement)
        return _rows((yield from generators.execute(pgconn)))
    if preparing.knows(pgconn, name):
        _send_prepared(pgconn, name, statement)
        answer = _rows((yield from generators.execute(pgconn)))
    else:
        pgconn.enter_pipeline_mode()
        pgconn.send_prepare(name, statement.text)
        _send_prepared(pgconn, name, statement)
        pgconn.pipeline_sync()
        yield from generators.send(pgconn)
        results = yield from _until_sync(pgconn)
        pgconn.exit_pipeline_mode()
        if results and results[0].status == ExecStatus.COMMAND_OK:
            preparing.note(pgconn, name)  # it stays, even if what it did was rolled back
        answer = _rows(results)
    if isinstance(answer, psycopg.Error) and answer.sqlstate in NOT_KEPT:
        preparing.works = False
        _send(pgconn, statement)
        return _rows((yield from generators.execute(pgconn)))
    return answer


def _until_sync(pgconn: PGconn) -> PQGen[list[PGresult]]:
    """Return what a pipeline gives until its next sync. Raises psycopg.Error if it breaks."""
    results: list[PGresult] = []
    try:
        # A transaction that fails as it ends gives its rows, and then the error.
        while True:
            got = yield from generators.fetch_many(pgconn)
            if got and got[-1].status == ExecStatus.PIPELINE_SYNC:
                return results
            results += got
    except psycopg.Error:
        told = _rows(results)
        if isinstance(told, psycopg.Error) and connection_lost(told):
            raise told from None  # why the server ended the connection
        raise


def _send(pgconn: PGconn, statement: Statement) -> None:
    """Put a statement into the connection's buffer."""
    if statement.values is None:
        pgconn.send_query(statement.text)
        return
    types, values = _dumped(statement.values)
    pgconn.send_query_params(
        statement.text,
        values,
        param_types=types,
        param_formats=[Format.BINARY] * len(values),
        result_format=Format.BINARY,
    )


def _send_prepared(pgconn: PGconn, name: bytes, statement: Statement) -> None:
    """Put into the buffer what executes a statement that the server has."""
    _, values = _dumped(statement.values or ())
    formats = [Format.BINARY] * len(values)
    pgconn.send_query_prepared(name, values, formats, Format.BINARY)


def _dumped(values: Sequence[Any]) -> tuple[list[int], list[bytes | None]]:
    pairs = [(DUMPERS[type(value)], value) for value in values]
    return [oid for (oid, _), _ in pairs], [dump(value) for (_, dump), value in pairs]


def _rows(results: list[PGresult]) -> list[Row] | psycopg.Error:
    for result in results:
        if result.status == ExecStatus.FATAL_ERROR:
            return error_from_result(result)
    if not results:
        return psycopg.OperationalError("the server gave no result")
    transformer: Reader = Transformer()
    transformer.set_pgresult(results[-1])
    rows: list[Row] = transformer.load_rows(0, results[-1].ntuples, tuple)
    return rows


def rows_of(answer: Answer) -> Sequence[Row]:
    """Return a statement's rows; raise its error if that is what it gave."""
    if isinstance(answer, psycopg.Error):
        raise answer
    return answer


def tries(
    batch: Batch, deadline: float, *, schema: str, unlogged: bool
) -> Generator[Batch | Pause, Any, list[Answer]]:
    """Yield what to send and when to pause until the batch's first statement went through.

    Returns the answers to the batch. A statement that lost a race was rolled back and is sent
    again until the deadline; one that misses the schema is sent again after creating it. Every
    other error is raised.
    """
    longest, limit = RACE_PAUSE_SECONDS
    created = False
    while True:
        answers: list[Answer] = yield batch
        error = answers[0]
        if not isinstance(error, psycopg.Error):
            return answers
        if error.sqlstate in MISSING and not created:
            yield from create(schema, unlogged=unlogged)
            created = True
        elif error.sqlstate in RACES:
            seconds = random.uniform(0, longest)
            if monotonic() + seconds >= deadline:
                raise error
            yield Pause(seconds)
            longest = min(2 * longest, limit)
        else:
            raise error
