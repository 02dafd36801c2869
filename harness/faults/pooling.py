"""What a transaction-pooling proxy such as PgBouncer does to a connection to Postgres."""

from __future__ import annotations

from harness.faults.traffic import Fault, Link

DISCARD_ALL = b"Q" + (4 + 12).to_bytes(4) + b"DISCARD ALL\0"
"""As a simple query (Postgres docs, Message Formats)."""
READY, IDLE = ord("Z"), b"I"
ASKING = frozenset(b"QS")
"""Messages of a client that the server answers with READY: a simple query, or a Sync."""
HEADER = 5
"""Bytes of a message's type and length; the length counts itself, but not the type."""


class TransactionPooling(Fault):
    """After each transaction the server forgets all that the client set up in its session.

    A pooler gives each transaction the server connection that is free at the moment, and
    cleans it before with DISCARD ALL: prepared statements, settings, advisory locks and
    temporary tables of the transaction before are gone (PgBouncer docs, pool modes).
    """

    def __init__(self) -> None:
        super().__init__()
        self._sessions: dict[Link, _Session] = {}

    async def request(self, link: Link, chunk: bytes) -> bytes:
        self._session(link).count(chunk)
        return chunk

    async def reply(self, link: Link, chunk: bytes) -> bytes:
        return self._session(link).pass_on(chunk)

    def _session(self, link: Link) -> _Session:
        return self._sessions.setdefault(link, _Session(link))


class _Session:
    """One connection, of which both directions are read message by message."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._rest = b""
        self._rest_asked = b""
        self._pending = 0
        """What the client waits for: it may send on before the first answer (pipelines)."""
        self._started = False
        self._held = b""
        """The end of a transaction, of which the client is told once the server has forgotten."""

    def count(self, chunk: bytes) -> None:
        """Note what the client asks."""
        if not self._started:
            return  # logging in, in messages of other kinds
        self._rest_asked += chunk
        while message := _first(self._rest_asked):
            self._rest_asked = self._rest_asked[len(message) :]
            self._pending += message[0] in ASKING

    def pass_on(self, chunk: bytes) -> bytes:
        """Return what the client gets of the chunk."""
        if not self._started and chunk == b"N":
            return chunk  # no TLS: the one reply that is not a message
        self._rest += chunk
        return b"".join(iter(self._next_message, None))

    def _next_message(self) -> bytes | None:
        message = _first(self._rest)
        if message is None:
            return None
        self._rest = self._rest[len(message) :]
        ended = message[0] == READY and message[HEADER:] == IDLE
        if self._held:
            if not ended:
                return b""
            held, self._held = self._held, b""
            return held
        if message[0] == READY and self._started:
            self._pending = max(0, self._pending - 1)
        if ended and self._started and not self._pending:
            self._held = message
            self._link.tell(DISCARD_ALL)
            return b""
        self._started |= ended
        return message


def _first(stream: bytes) -> bytes | None:
    """Return the first message, None if it is not there as a whole."""
    if len(stream) < HEADER:
        return None
    length = 1 + int.from_bytes(stream[1:HEADER])
    return stream[:length] if len(stream) >= length else None
