"""The sweeper of expired sessions: what it deletes, and whom it keeps waiting.

These replace a function of the schema, for all stores of the server.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from psycopg import sql

from mutants import mutant
from mutants._surgery import Method, wrap
from stores.postgres import PostgresStore
from stores.postgres.statements import PostgresStatements, Statement


def sweeper(store: Any, *cuts: tuple[str, str]) -> None:
    """Replace parts of the sweeper's functions, before the store's first call."""
    if not isinstance(store._plans.commands, PostgresStatements):
        return
    text = files("stores.postgres").joinpath("schema", "sweep.sql").read_text()
    for old, new in cuts:
        if old not in text:
            raise ValueError(f"sweep.sql has no {old!r}")
        text = text.replace(old, new)
    script = sql.SQL(text).format(schema=sql.Identifier(store._schema)).as_bytes(None)
    replaced: list[bool] = []

    def make(talk: Method) -> Method:
        def first(pgconn: Any, batch: Any, deadline: float) -> Any:
            answers = talk(pgconn, batch, deadline)
            if not replaced:
                replaced.append(True)
                talk(pgconn, (Statement(script),), deadline)
            return answers

        return first

    wrap(store, "_talk", make)


@mutant(
    PostgresStore,
    "class: a sweep that waits for others' locks",
    "ttl-8",
    "test_the_sweeper_deletes_in_batches_and_waits_for_nobody",
    says="were not swept while one was locked",
    alone=True,
    retention="swept",
)
def sweeper_waits_for_locked_rows(store: Any) -> None:
    """The sweeper waits for whoever has a session in hand: one slow writer stops it."""
    sweeper(store, (" SKIP LOCKED", ""))


@mutant(
    PostgresStore,
    "class: one long transaction over all",
    "ttl-8",
    "test_writers_go_on_during_a_sweep",
    says="a writer waited for the sweeper",
    alone=True,
    retention="swept",
)
def sweeper_holds_its_rows_for_long(store: Any) -> None:
    """The sweeper keeps what it deletes locked while it goes on: a writer waits for its end."""
    sweeper(
        store,
        (
            "GET DIAGNOSTICS swept = ROW_COUNT;",
            "GET DIAGNOSTICS swept = ROW_COUNT; IF swept > 0 THEN PERFORM pg_sleep(1.5); END IF;",
        ),
    )
