"""The reader of Redis's replies: however the network cuts them, they are what redis-py reads."""

from __future__ import annotations

from typing import Any

import pytest
from redis import exceptions

from stores.redis.replies import INCOMPLETE, Reader, Replies

REPLIES: dict[str, tuple[bytes, Any]] = {
    "text": (b"+PONG\r\n", b"PONG"),
    "number": (b":-42\r\n", -42),
    "value": (b"$5\r\nhello\r\n", b"hello"),
    "empty value": (b"$0\r\n\r\n", b""),
    "no value": (b"$-1\r\n", None),
    "value with line ends": (b"$4\r\n\r\n\r\n\r\n", b"\r\n\r\n"),
    "empty list": (b"*0\r\n", []),
    "no list": (b"*-1\r\n", None),
    "list": (b"*3\r\n$1\r\n1\r\n$-1\r\n$2\r\nab\r\n", [b"1", None, b"ab"]),
    "nested": (b"*2\r\n$1\r\n0\r\n*2\r\n$1\r\na\r\n*1\r\n:7\r\n", [b"0", [b"a", [7]]]),
    "long list": (b"*1000\r\n" + b"$3\r\nabc\r\n" * 1000, [b"abc"] * 1000),
    "long value": (b"$70000\r\n" + b"x" * 70000 + b"\r\n", b"x" * 70000),
}


def replies() -> Replies:
    return Replies(Reader(0).parse_error)


def read(found: Replies, sent: bytes, size: int) -> Any:
    """Feed pieces of a size until the reply is whole."""
    for start in range(0, len(sent), size):
        assert found.next() is INCOMPLETE
        found.feed(sent[start : start + size])
    return found.next()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 4096, 1 << 20])
@pytest.mark.parametrize("name", list(REPLIES))
def test_a_reply_is_the_same_however_it_comes(name: str, size: int) -> None:
    sent, wanted = REPLIES[name]
    if len(sent) / size > 20_000:
        size = 97
    found = replies()
    for _ in range(2):  # the second finds nothing of the first
        assert read(found, sent, size) == wanted
        assert not found.unread


def test_replies_that_come_together_are_read_one_by_one() -> None:
    found = replies()
    found.feed(b"".join(sent for sent, _ in REPLIES.values()))
    assert [found.next() for _ in REPLIES] == [wanted for _, wanted in REPLIES.values()]
    assert not found.unread


def test_what_nobody_asked_for_is_noticed() -> None:
    found = replies()
    found.feed(b":1\r\n:2\r\n")
    assert found.next() == 1
    assert found.unread


def test_an_error_has_the_drivers_type() -> None:
    found = replies()
    found.feed(b"-NOSCRIPT No matching script.\r\n*1\r\n-ERR in a list\r\n")
    assert isinstance(found.next(), exceptions.NoScriptError)
    assert isinstance(found.next()[0], exceptions.ResponseError)


def test_what_is_no_reply_is_an_error() -> None:
    found = replies()
    found.feed(b"HTTP/1.1 400 Bad Request\r\n")
    with pytest.raises(exceptions.InvalidResponse):
        found.next()
