"""Sameness: what `==` calls equal, and a store may not confuse."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from harness.sameness import difference, message_difference
from stores.interface import Message, StoredMessage

BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)
TWICE = datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN)


@pytest.mark.parametrize(
    ("got", "wanted"),
    [
        (1, 1.0),
        (1, True),
        (0.0, -0.0),
        ("1", 1),
        (b"a", "a"),
        ([], ()),
        ([1], [1, 2]),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"a": 1}, {"a": 1, "b": 2}),
        (Decimal("1.0"), Decimal("1.00")),
        (Decimal(0), Decimal("-0")),
        (NOON, NOON.astimezone(BERLIN)),
        (NOON, NOON.astimezone(ZoneInfo("UTC"))),
        (NOON, NOON.astimezone(timezone(timedelta(hours=1)))),
        (TWICE, TWICE.replace(fold=1)),
        (TWICE, TWICE.replace(tzinfo=ZoneInfo("Europe/Paris"))),
    ],
    ids=repr,
)
def test_what_differs(got: Any, wanted: Any) -> None:
    """Values that differ in type, sign, order, digits or zone differ."""
    assert difference(got, wanted)
    assert difference(wanted, got)
    assert difference([{"deep": got}], [{"deep": wanted}])


@pytest.mark.parametrize(
    "value", [None, 2**70, -0.0, "\x00", b"\xff", NOON, TWICE, {"b": [1, {}], "a": None}], ids=repr
)
def test_what_is_the_same(value: Any) -> None:
    """A value is the same as itself, and so is one read anew."""
    assert difference(value, value) is None
    assert difference([value], [value]) is None


def test_the_place_is_named() -> None:
    """The message says where the first difference is, and both values."""
    found = difference({"a": [1, {"b": "x"}]}, {"a": [1, {"b": "y"}]}, "context")
    assert found == "context['a'][1]['b']: got 'x', wanted 'y'"


def test_a_message_is_compared_by_what_it_says() -> None:
    """A stored message is the same as its message, wherever it stands."""
    message = Message("user", "hello", metadata={"n": 1})
    stored = StoredMessage(
        role="user",
        content="hello",
        id=message.id,
        metadata={"n": 1},
        created_at=message.created_at,
        position=7,
        stored_at=NOON,
    )
    assert message_difference(stored, message) is None
    other = Message("user", "hello", message.id, {"n": 1.0}, message.created_at)
    assert "metadata" in (message_difference(stored, other) or "")
