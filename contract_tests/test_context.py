"""ctx: a session's context, its versions, and changes that others must not see half done."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from contract_tests.fix_stores import OpenStore
from harness.contracts import contract, needs
from harness.crowd import together
from harness.inspectors import Inspector
from harness.sameness import difference
from stores.errors import Conflict, NotSerializable
from stores.interface import Context, MemoryStore, Message

pytestmark = needs("context")

SESSION = "a session"


@contract("ctx-1")
def test_load_gives_what_save_stored(store: MemoryStore, inspector: Inspector) -> None:
    """load_context gives what save_context stored, types included; None only if nothing is stored.

    Whether an empty context, a session without one and an absent session are told apart.
    """
    assert store.load_context(SESSION) is None
    assert store.load_session(SESSION) is None
    assert inspector.context(SESSION) is None

    versions = []
    for value in ({}, {"at": datetime.now(UTC), "cost": Decimal("1.10")}, {"left": [None, 1.0]}):
        versions.append(store.save_context(SESSION, value))
        loaded = store.load_context(SESSION)
        assert loaded is not None, f"{value!r} was stored, and is not there"
        assert not difference(loaded.value, value)
        assert loaded.version == versions[-1]
        session = store.load_session(SESSION)
        assert session is not None
        assert (session.history, session.context) == ([], loaded)
        assert inspector.context(SESSION), "it was loaded, but is not on the server"
    assert versions == sorted(set(versions)), "a version must grow with every save"
    assert versions[0] > 0, "0 stands for: no context is stored"


@contract("ctx-1")
@needs("history")
def test_a_history_is_not_a_context(store: MemoryStore) -> None:
    """A session that has only a history has no context.

    Whether the absence of a context is looked up, rather than concluded from the session.
    """
    message = store.append_message(SESSION, Message("user", "hello"))
    assert store.load_context(SESSION) is None
    session = store.load_session(SESSION)
    assert session is not None
    assert (session.history, session.context) == ([message], None)
    assert store.save_context(SESSION, {"key": 1}, if_version=0) > 0
    assert store.get_history(SESSION) == [message]


@contract("ctx-2")
def test_a_stale_writer_is_refused(
    store: MemoryStore,
    open_store: OpenStore,
    inspector: Inspector,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`if_version` refuses a stale writer, also when clocks are equal, and changes nothing.

    Whether versions come from the server and never repeat, not even after a delete.
    """
    now, (one, other) = time.time_ns(), (store, open_store())
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: now / 1e9)
        patch.setattr(time, "time_ns", lambda: now)
        first = one.save_context(SESSION, {"by": "one"}, if_version=0)
        second = other.save_context(SESSION, {"by": "other"}, if_version=first)
        raw = inspector.context(SESSION)
        for stale in (first, 0, second + 1):
            with pytest.raises(Conflict):
                one.save_context(SESSION, {"by": "one"}, if_version=stale)
    assert inspector.context(SESSION) == raw
    assert one.load_context(SESSION) == Context({"by": "other"}, second)

    # The same content once more is another version all the same.
    third = one.save_context(SESSION, {"by": "other"})
    with pytest.raises(Conflict):
        other.save_context(SESSION, {"by": "one"}, if_version=second)
    other.delete_session(SESSION)
    later = [other.save_context(SESSION, {"by": "other"}) for _ in range(4)]
    assert min(later) > third, "a version of the deleted session came back"
    with pytest.raises(Conflict):
        one.save_context(SESSION, {"by": "one"}, if_version=third)
    with pytest.raises(Conflict):
        one.save_context("never written", {}, if_version=third)
    assert not inspector.present("never written")


@contract("ctx-2")
def test_one_of_many_writers_wins(store: MemoryStore, open_store: OpenStore) -> None:
    """Of all that write with the same `if_version` at once, exactly one succeeds.

    Whether comparing the version and writing are one step on the server.
    """
    stores = [store, open_store()] * 2
    version = 0

    def write(number: int) -> int | None:
        try:
            return stores[number].save_context(SESSION, {"by": number}, if_version=version)
        except Conflict:
            return None

    for turn in range(10):
        versions = together([partial(write, number) for number in range(len(stores))])
        won = [number for number, given in enumerate(versions) if given is not None]
        assert len(won) == 1, f"writers {won} all saved over version {version} in turn {turn}"
        version = versions[won[0]] or 0
        assert store.load_context(SESSION) == Context({"by": won[0]}, version)


@contract("ctx-2")
def test_a_version_that_none_can_have_is_refused(store: MemoryStore, inspector: Inspector) -> None:
    """An `if_version` that is no version is a ValueError, and nothing is written.

    Whether the store checks its arguments, instead of leaving them to the server.
    """
    versions: list[Any] = [-1, True, 1.0, 2**70, "1"]
    for version in versions:
        with pytest.raises(ValueError, match="if_version"):
            store.save_context(SESSION, {}, if_version=version)
    assert not inspector.present(SESSION)


class _OwnError(Exception):
    """An error of the caller's own."""


def _raises(context: dict[str, Any], error: Exception) -> Mapping[str, Any]:
    context.setdefault("tasks", []).append("half done")
    raise error


def _gives(_: dict[str, Any], value: Any) -> Any:
    return value


@contract("ctx-6")
def test_a_failing_change_leaves_the_context(store: MemoryStore, inspector: Inspector) -> None:
    """What `change` raises reaches the caller, and the context stays as it was.

    Whether anything is written before `change` returned, and whether its error is kept.
    """
    version = store.save_context(SESSION, {"tasks": ["one"]})
    raw = inspector.context(SESSION)
    for error in (_OwnError("mine"), KeyError("mine"), Conflict("mine")):
        with pytest.raises(type(error)) as raised:
            store.update_context(SESSION, partial(_raises, error=error))
        assert raised.value is error
        with pytest.raises(type(error)):
            store.update_context("never written", partial(_raises, error=error))
    assert inspector.context(SESSION) == raw
    assert store.load_context(SESSION) == Context({"tasks": ["one"]}, version)
    assert not inspector.present("never written")


@contract("ctx-6")
def test_a_change_to_what_cannot_be_stored_leaves_the_context(
    store: MemoryStore, inspector: Inspector
) -> None:
    """A `change` that returns no storable context is NotSerializable, and nothing changes.

    Whether the new context is checked before it is sent (a forgotten `return` gives None).
    """
    version = store.save_context(SESSION, {"tasks": ["one"]})
    raw = inspector.context(SESSION)
    changed: list[Any] = [None, [("tasks", 1)], {"tasks": object()}, {1: 2}]
    for value in changed:
        with pytest.raises(NotSerializable):
            store.update_context(SESSION, partial(_gives, value=value))
    assert inspector.context(SESSION) == raw
    assert store.load_context(SESSION) == Context({"tasks": ["one"]}, version)
