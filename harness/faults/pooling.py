"""What a transaction-pooling proxy such as PgBouncer does to a connection to Postgres."""

from __future__ import annotations

from harness.faults.traffic import Fault, Link

DISCARD_ALL = b"Q" + (4 + 12).to_bytes(4) + b"DISCARD ALL\0"
"""As a simple query (Postgres docs, Message Formats)."""
READY, IDLE = ord("Z"), b"I"
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

    async def reply(self, link: Link, chunk: bytes) -> bytes:
        return self._sessions.setdefault(link, _Session(link)).pass_on(chunk)


class _Session:
    """One connection, whose replies are read message by message."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._rest = b""
        self._started = False
        self._held = b""
        """The end of a transaction, of which the client is told once the server has forgotten."""

    def pass_on(self, chunk: bytes) -> bytes:
        """Return what the client gets of the chunk."""
        if not self._started and chunk == b"N":
            return chunk  # no TLS: the one reply that is not a message
        self._rest += chunk
        return b"".join(iter(self._next_message, None))

    def _next_message(self) -> bytes | None:
        if len(self._rest) < HEADER:
            return None
        length = 1 + int.from_bytes(self._rest[1:HEADER])
        if len(self._rest) < length:
            return None
        message, self._rest = self._rest[:length], self._rest[length:]
        ended = message[0] == READY and message[HEADER:] == IDLE
        if self._held:
            if not ended:
                return b""
            held, self._held = self._held, b""
            return held
        if ended and self._started:
            self._held = message
            self._link.tell(DISCARD_ALL)
            return b""
        self._started |= ended
        return message
