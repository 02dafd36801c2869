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
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, Format
from psycopg.pq.abc import PGconn

from stores.calls import Pause
from stores.postgres.creation import MISSING, create
from stores.postgres.statements import Row, Statement

RACES = frozenset({"40001", "40P01"})
"""Serialization failure and deadlock: rolled back, to be tried again (Postgres docs, 13.5)."""
RACE_PAUSE_SECONDS = (0.001, 0.050)
"""After a lost race the pause is random up to the first bound, which doubles up to the second."""


def exchange(pgconn: PGconn, statement: Statement) -> PQGen[list[Row]]:
    """Send a statement and return its rows; raises psycopg.Error. For psycopg's wait functions."""
    transformer = Transformer()
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
    results = yield from generators.execute(pgconn)
    for result in results:
        if result.status == ExecStatus.FATAL_ERROR:
            raise error_from_result(result)
    transformer.set_pgresult(results[-1])
    rows: list[Row] = transformer.load_rows(0, results[-1].ntuples, tuple)
    return rows


def tries(
    statement: Statement, deadline: float, *, schema: str, unlogged: bool
) -> Generator[Statement | Pause, Any, Sequence[Row]]:
    """Yield what to send and when to pause until the statement went through; return its rows.

    A statement that lost a race was rolled back and is sent again until the deadline; one
    that misses the schema is sent again after creating it. Every other error is raised.
    """
    longest, limit = RACE_PAUSE_SECONDS
    created = False
    while True:
        try:
            rows: Sequence[Row] = yield statement
        except psycopg.Error as error:
            if error.sqlstate in MISSING and not created:
                yield from create(schema, unlogged=unlogged)
                created = True
            elif error.sqlstate in RACES:
                seconds = random.uniform(0, longest)
                if monotonic() + seconds >= deadline:
                    raise
                yield Pause(seconds)
                longest = min(2 * longest, limit)
            else:
                raise
        else:
            return rows
