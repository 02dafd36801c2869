"""What a failed Postgres call means for the data. The codes are in Postgres's docs, Error Codes."""

from __future__ import annotations

from typing import Any, Final

import psycopg
from psycopg.pq.abc import PGconn

from stores.errors import (
    CorruptRecord,
    OutcomeUnknown,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from stores.postgres.pool import is_standby
from stores.postgres.statements import PostgresCall

FULL: Final = frozenset({"53100", "53200"})
"""Disk full, out of memory."""
READ_ONLY: Final = "25006"
"""The server is a standby, or set to be read-only."""
REFUSALS: Final = (
    "0A000",  # what is unlogged cannot be read on a standby
    READ_ONLY,
    "28",  # wrong user or password
    "3D000",  # no such database
    "40001",  # serialization failure; here only if it went on until the deadline
    "40P01",  # deadlock, the same
    "42501",  # the role lacks a right
    "53",  # too many connections and other resources
    "55P03",  # a lock was not available
    "57014",  # cancelled, by statement_timeout too
    "57P03",  # starting up or shutting down
    "57P04",  # the database was dropped
)
"""Codes, and classes of codes, after which a statement certainly was not applied."""
CORRUPTION: Final = ("23505", "XX001", "XX002")
"""Positions that contradict the session's counter, corrupted data, corrupted index."""
LOST: Final = ("08", "40003", "57P01", "57P02", "57P05")
"""The connection ended: by failure, shutdown, crash or idle for too long, perhaps just after
the commit. What the server calls FATAL or a PANIC has ended it too, whatever the code."""


def not_sent(session_id: str, error: BaseException) -> StoreError:
    """Map a failure before the call left: certainly not applied."""
    return StoreUnavailable(f"session {session_id!r}: no connection ({_text(error)})")


def failed(call: PostgresCall[Any], error: psycopg.Error) -> StoreError:
    """Map a failure after the call left."""
    session_id, text = call.session_id, _text(error)
    if connection_lost(error):
        # A read cannot have been applied, so this is certain even without a reply.
        lost = StoreUnavailable if call.reads else OutcomeUnknown
        return lost(f"session {session_id!r}: the reply was lost ({text})")
    state = error.sqlstate or ""
    if state in FULL:
        return StoreFull(f"session {session_id!r}: {text}")
    if state.startswith(REFUSALS):
        return StoreUnavailable(f"session {session_id!r}: {text}")
    if state in CORRUPTION:
        return CorruptRecord(text, session_id=session_id)
    return StoreError(f"session {session_id!r}: the server answered: {state} {text}")


def connection_lost(error: psycopg.Error) -> bool:
    """Say whether an error ended the connection, rather than only the statement."""
    fatal = error.diag.severity_nonlocalized in {"FATAL", "PANIC"}
    return fatal or error.sqlstate is None or error.sqlstate.startswith(LOST)


def misplaced(error: psycopg.Error) -> bool:
    """Say whether the server takes no writes, so that another one has to be found."""
    return error.sqlstate == READ_ONLY


def check_takes_writes(pgconn: PGconn, call: PostgresCall[Any]) -> None:
    """Raise psycopg.Error if the call writes and the connection's server is known as a standby.

    The server would refuse it too, but for a lock that is held: there it tells who held it once.
    """
    if not call.reads and is_standby(pgconn):
        raise psycopg.errors.ReadOnlySqlTransaction("the server is a standby: it takes no writes")


def _text(error: BaseException) -> str:
    """Return the message alone, on one line: details could quote data."""
    primary = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    return " ".join((primary or str(error)).split()) or type(error).__name__
