"""The transaction pooler, fed with messages as Postgres sends them."""

from __future__ import annotations

import asyncio

from harness.faults.pooling import DISCARD_ALL, TransactionPooling

READY, IN_TRANSACTION = b"Z\0\0\0\5I", b"Z\0\0\0\5T"
SYNC = b"S\0\0\0\4"
ROW = b"D\0\0\0\x0a\0\1Z\0\0\5"
"""A message that contains the bytes of others."""
DISCARDED = b"C\0\0\0\x10DISCARD ALL\0" + READY


class Client:
    """A link whose server's replies are put in by the test."""

    def __init__(self) -> None:
        self.told: list[bytes] = []
        self._pooling = TransactionPooling()

    def reset(self) -> None:
        raise NotImplementedError

    def give(self, chunk: bytes) -> None:
        raise NotImplementedError

    def tell(self, chunk: bytes) -> None:
        self.told.append(chunk)

    def asks(self, *chunks: bytes) -> None:
        for chunk in chunks:
            asyncio.run(self._pooling.request(self, chunk))

    def gets(self, *chunks: bytes) -> bytes:
        return b"".join(asyncio.run(self._pooling.reply(self, chunk)) for chunk in chunks)


def test_login_passes_unchanged() -> None:
    client = Client()
    assert client.gets(b"N", b"R\0\0\0\x08\0\0\0\0", READY) == b"NR\0\0\0\x08\0\0\0\0" + READY
    assert client.told == []


def test_the_session_is_discarded_after_each_transaction_before_the_client_knows() -> None:
    client = Client()
    client.gets(READY)
    assert client.gets(ROW, READY) == ROW
    assert client.told == [DISCARD_ALL]
    assert client.gets(DISCARDED) == READY
    assert client.gets(ROW + READY) == ROW
    assert client.told == [DISCARD_ALL] * 2
    assert client.gets(DISCARDED) == READY


def test_a_transaction_that_goes_on_keeps_its_session() -> None:
    client = Client()
    client.gets(READY)
    assert client.gets(ROW + IN_TRANSACTION) == ROW + IN_TRANSACTION
    assert client.told == []


def test_messages_may_come_in_any_pieces() -> None:
    client = Client()
    client.gets(READY)
    pieces = [bytes([byte]) for byte in ROW + READY + DISCARDED]
    assert client.gets(*pieces) == ROW + READY
    assert client.told == [DISCARD_ALL]


def test_a_client_that_has_sent_on_keeps_its_session_until_all_is_answered() -> None:
    client = Client()
    client.asks(b"\0\0\0\x08\4\xd2\x16/", b"p\0\0\0\5S")
    client.gets(READY)
    client.asks(SYNC + SYNC[:2], SYNC[2:])
    assert client.gets(ROW + READY) == ROW + READY
    assert client.told == []
    assert client.gets(ROW + READY) == ROW
    assert client.told == [DISCARD_ALL]
    assert client.gets(DISCARDED) == READY
