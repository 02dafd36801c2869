"""Talking with one connection: how a call is sent, and when it is sent again. No waiting.

This speaks `psycopg.pq`, the layer below psycopg's cursors. So an exchange is the same for
both faces and for connections of the caller's, whatever is set on them; its time is bounded
to the millisecond; a cancelled one is dropped at once instead of being negotiated with a
server that may be gone; and nothing is ever prepared on the server, because a name made on
one server connection is unknown on the next behind a transaction-pooling proxy.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Sequence
from time import monotonic
from typing import Any

import psycopg
from psycopg import generators
from psycopg.abc import PQGen
from psycopg.abc import Transformer as Reader
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, Format
from psycopg.pq.abc import PGconn, PGresult

from stores.calls import Pause
from stores.postgres.creation import MISSING, create
from stores.postgres.statements import Answer, Batch, Row, Statement

RACES = frozenset({"40001", "40P01"})
"""Serialization failure and deadlock: rolled back, to be tried again (Postgres docs, 13.5)."""
RACE_PAUSE_SECONDS = (0.001, 0.050)
"""After a lost race the pause is random up to the first bound, which doubles up to the second."""


def exchange(pgconn: PGconn, statement: Statement) -> PQGen[list[Row]]:
    """Send a statement and return its rows; raises psycopg.Error. For psycopg's wait functions."""
    transformer = _send(pgconn, statement)
    results = yield from generators.execute(pgconn)
    rows = _rows(transformer, results)
    if isinstance(rows, psycopg.Error):
        raise rows
    return rows


def exchange_all(pgconn: PGconn, batch: Batch) -> PQGen[list[Answer]]:
    """Send statements at once, each a transaction of its own; return the rows or error of each.

    Raises psycopg.Error if the connection breaks.
    """
    if len(batch) == 1:
        try:
            return [(yield from exchange(pgconn, batch[0]))]
        except psycopg.Error as error:
            return [error]
    pgconn.enter_pipeline_mode()
    transformers = []
    for statement in batch:
        transformers.append(_send(pgconn, statement))
        pgconn.pipeline_sync()
    yield from generators.send(pgconn)
    answers: list[Answer] = []
    for transformer in transformers:
        results: list[PGresult] = []
        try:
            # A transaction that fails as it ends gives its rows, and then the error.
            while True:
                got = yield from generators.fetch_many(pgconn)
                if got and got[-1].status == ExecStatus.PIPELINE_SYNC:
                    break
                results += got
        except psycopg.Error:
            told = _rows(transformer, results)
            if isinstance(told, psycopg.Error):  # why the server ended the connection
                raise told from None
            raise
        answers.append(_rows(transformer, results))
    pgconn.exit_pipeline_mode()
    return answers


def _send(pgconn: PGconn, statement: Statement) -> Reader:
    """Put a statement into the connection's buffer; return what reads its rows."""
    transformer: Reader = Transformer()
    if statement.values is None:
        pgconn.send_query(statement.text)
    else:
        values = transformer.dump_sequence(
            statement.values, [PyFormat.BINARY] * len(statement.values)
        )
        pgconn.send_query_params(
            statement.text,
            values,
            param_types=transformer.types,
            param_formats=transformer.formats,
            result_format=Format.BINARY,
        )
    return transformer


def _rows(transformer: Reader, results: list[PGresult]) -> list[Row] | psycopg.Error:
    for result in results:
        if result.status == ExecStatus.FATAL_ERROR:
            return error_from_result(result)
    if not results:
        return psycopg.OperationalError("the server gave no result")
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
