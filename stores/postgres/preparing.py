"""Which connection has prepared which statement, so that the server parses each once."""

from __future__ import annotations

import hashlib
from weakref import WeakKeyDictionary

from psycopg.pq.abc import PGconn

NOT_KEPT = frozenset({"26000", "42P05", "0A000"})
"""SQLSTATEs of a name that is unknown, of one that is taken, and of a plan whose result has
changed (Postgres docs, Error Codes): the statement was not executed."""


def name_of(text: bytes) -> bytes:
    """Return the name under which a statement is prepared: wherever it is known, it is this."""
    return b"agent_memory_" + hashlib.sha256(text).hexdigest()[:24].encode()


class Preparing:
    """The statements prepared on the connections of one store.

    A statement is prepared by its first use on a connection, in the same round trip. Behind a
    proxy that pools transactions the next one may find itself on another server connection, where
    its name is unknown, or taken by another client for the same text. Then nothing was applied:
    it is sent again as text, and from then on nothing is prepared.
    """

    def __init__(self) -> None:
        self.works = True
        self._names: WeakKeyDictionary[PGconn, set[bytes]] = WeakKeyDictionary()

    def knows(self, pgconn: PGconn, name: bytes) -> bool:
        """Say whether the connection has prepared the statement of this name."""
        return name in self._names.get(pgconn, ())

    def note(self, pgconn: PGconn, name: bytes) -> None:
        """Note that it has."""
        self._names.setdefault(pgconn, set()).add(name)
