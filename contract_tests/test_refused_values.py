"""val: what could not come back as what it is, and is refused before anything is sent."""

from __future__ import annotations

import math
import socket
import threading
from collections import OrderedDict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from enum import IntEnum
from typing import Any
from uuid import UUID

import pytest

from harness.contracts import contract, needs
from harness.inspectors import Inspector
from stores.errors import NotSerializable
from stores.interface import MemoryStore, Message

pytestmark = needs("history", "context")

SESSION = "a session"
NOW = datetime(2024, 2, 29, 12, 30, tzinfo=UTC)


class _Own(IntEnum):
    ONE = 1


class _Text(str):
    __slots__ = ()


class _Zone(tzinfo):
    def utcoffset(self, moment: datetime | None) -> timedelta:
        return timedelta(hours=1)

    def dst(self, moment: datetime | None) -> timedelta:
        return timedelta(0)

    def tzname(self, moment: datetime | None) -> str:
        return "own"


def refused_values() -> Iterator[tuple[str, Any]]:
    """Yield values that could not come back as what they are, by name."""
    itself: list[Any] = []
    itself.append(itself)
    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep]
    yield from {
        "lambda": lambda: None,
        "object": object(),
        "lock": threading.Lock(),
        "type": int,
        "NaN": math.nan,
        "Infinity": math.inf,
        "-Infinity": -math.inf,
        "Decimal NaN": Decimal("NaN"),
        "Decimal sNaN": Decimal("sNaN"),
        "Decimal Infinity": Decimal("Infinity"),
        "naive datetime": NOW.replace(tzinfo=None),
        "datetime of an own zone": NOW.astimezone(_Zone()),
        "time": NOW.time(),
        "timedelta": timedelta(1),
        "tuple": (1, 2),
        "set": {1},
        "frozenset": frozenset({1}),
        "bytearray": bytearray(b"x"),
        "complex": 1j,
        "range": range(2),
        "generator": (n for n in "a"),
        "int key": {1: "one"},
        "None key": {None: 1},
        "bool key": {True: 1},
        "tuple key": {(1, 2): 1},
        "bytes key": {b"k": 1},
        "lone surrogate": "a\ud800b",
        "lone surrogate in a key": {"\udfff": 1},
        "subclass of int": _Own.ONE,
        "subclass of str": _Text("x"),
        "subclass of str as a key": {_Text("x"): 1},
        "subclass of dict": OrderedDict(a=1),
        "subclass of list": type("Items", (list,), {})(),
        "integer of 5000 digits": 10**5000,
        "nested too deep": deep,
        "holding itself": itself,
    }.items()
    with socket.socket() as open_socket:
        yield "socket", open_socket


@contract("val-2")
def test_what_cannot_come_back_is_refused(store: MemoryStore, inspector: Inspector) -> None:
    """What cannot come back equal is NotSerializable before it is sent; what was stored stays.

    Which values the store converts on the sly, and whether the error says where they are.
    """
    store.save_context(SESSION, {"kept": 1})
    store.append_message(SESSION, Message("user", "kept"))
    context, messages = inspector.context(SESSION), inspector.messages(SESSION)
    writes: dict[str, Any] = {
        "save_context": lambda bad: store.save_context(SESSION, {"deep": [1, {"here": bad}]}),
        "append_messages": lambda bad: store.append_messages(
            SESSION, [Message("user", "fine"), Message("user", "", metadata={"here": bad})]
        ),
    }
    went: dict[str, str] = {}
    for name, bad in refused_values():
        for write, call in writes.items():
            try:
                went[f"{write} of {name}"] = f"was stored: {call(bad)}"
            except NotSerializable as error:
                if "here" not in str(error):
                    went[f"{write} of {name}"] = f"does not say where it is: {error}"
            except Exception as error:  # noqa: BLE001 - which one it was is the finding
                went[f"{write} of {name}"] = f"raised {error!r:.100}"
    assert not went
    assert inspector.context(SESSION) == context
    assert inspector.messages(SESSION) == messages


@contract("val-2")
def test_messages_of_other_types_are_refused(store: MemoryStore, inspector: Inspector) -> None:
    """A message whose fields have other types is NotSerializable, and makes no session.

    Which field the store converts on the sly.
    """
    wrong: dict[str, list[Any]] = {
        "role": [None, 1, b"user", _Text("user"), "\ud800"],
        "content": [None, 1, b"hello", ["hello"], _Text("hello"), "\ud800"],
        "id": [None, 1, b"id", UUID(int=1), _Text("id"), "\ud800"],
        "metadata": [None, [], "{}", OrderedDict(), {1: 2}],
        "created_at": [None, 1.5, "2024-02-29", date(2024, 2, 29), NOW.replace(tzinfo=None)],
    }
    contexts: list[Any] = [None, [], "{}", OrderedDict(a=1), [("a", 1)]]
    for name, values in wrong.items():
        for value in values:
            message = Message(**{"role": "user", "content": "hello", name: value})
            with pytest.raises(NotSerializable):
                store.append_message(SESSION, message)
    for context in contexts:
        with pytest.raises(NotSerializable):
            store.save_context(SESSION, context)
    assert not inspector.present(SESSION)
