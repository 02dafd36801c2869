"""iso: ids and namespaces that are told apart, whatever characters they have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from contract_tests.fix_stores import OpenStore
from contract_tests.workload import turn
from harness.contracts import contract, needs
from harness.inspectors import Inspector
from stores.interface import MemoryStore, Message

LONGEST = "é" * 256  # 512 bytes
NEIGHBOURS = [
    *("user:1", "user:10", "user:", ":", "*", "?", "[a-z]", "a", "|", "\\*", "_", "%", "%s"),
    *("'", "';--", "{}", "}", "a}:session", "a}:lock", "{a}", "a/b"),
    *("A", "a ", " ", "a\n", "a\x00", "\x00", "None", "0"),
    *("e\u0301", "\u00e9", "\u017f", "\U0001f44b", "\u202ea", LONGEST),
]
"""Pairs that patterns, quoting, folding, normalising, trimming or cutting would take for one."""
BAD = (LONGEST + "x", "", "\ud800", "a\udc80", None, 5, b"bytes", ("a",))


def identify(store: MemoryStore, session_id: str) -> None:
    """Give a session contents that no other has."""
    store.append_message(session_id, Message("user", session_id))
    store.save_context(session_id, {"id": session_id})


def identity(store: MemoryStore, session_id: str) -> tuple[list[str], dict[str, Any] | None]:
    """Return what the session holds."""
    session = store.load_session(session_id)
    if session is None:
        return [], None
    context = session.context.value if session.context else None
    return [message.content for message in session.history], context


def raised_by(call: Callable[[Any], object], argument: object) -> type[Exception] | None:
    """Return the type of what a call raised, None if it went through."""
    try:
        call(argument)
    except Exception as error:  # noqa: BLE001 - whatever it is, the contract compares it
        return type(error)
    return None


@contract("iso-1")
@needs("history", "context", "sessions")
def test_ids_that_look_alike_never_meet(store: MemoryStore, inspector: Inspector) -> None:
    """Whatever characters an id has, it never sees, lists or deletes the session of another.

    Look for patterns, quoting, folding of case or accents, trimming, and keys joined from parts.
    """
    for session_id in NEIGHBOURS:
        identify(store, session_id)

    found = {session_id: identity(store, session_id) for session_id in NEIGHBOURS}
    mixed_up = {one: got for one, got in found.items() if got != ([one], {"id": one})}
    assert mixed_up == {}
    listed = list(store.iter_sessions())
    assert sorted(listed) == sorted(NEIGHBOURS)
    assert inspector.sessions() == set(NEIGHBOURS)

    for half, left in ((NEIGHBOURS[::2], NEIGHBOURS[1::2]), (NEIGHBOURS[1::2], [])):
        gone = [session_id for session_id in half if not store.delete_session(session_id)]
        assert gone == [], "these were deleted together with others"
        assert inspector.sessions() == set(left)


@contract("iso-1")
@needs("history", "sessions")
def test_namespace_and_id_are_never_run_together(
    open_store: OpenStore, inspect: Callable[[str], Inspector], namespace: str
) -> None:
    """("a", "b:c") and ("a:b", "c") are two sessions, not one.

    Look at how keys are built: joining with a separator needs lengths or escapes.
    """
    sessions = {
        f"{namespace}a": ["b:c", "bc", "b}:session"],
        f"{namespace}a:b": ["c"],
        f"{namespace}ab": ["c", "}:session"],
    }
    stores = {name: open_store(namespace=name) for name in sessions}
    raw = {name: inspect(name) for name in sessions}
    for name, ids in sessions.items():
        for session_id in ids:
            stores[name].append_message(session_id, Message("user", f"{name} {session_id}"))

    for name, ids in sessions.items():
        assert sorted(stores[name].iter_sessions()) == sorted(ids)
        for session_id in ids:
            (message,) = stores[name].get_history(session_id)
            assert message.content == f"{name} {session_id}"
            assert stores[name].delete_session(session_id), "it was deleted with another"
        assert raw[name].sessions() == set()


@contract("iso-1")
@needs("history", "context", "sessions", "ttl", "lock")
def test_a_bad_id_is_refused_by_every_call(store: MemoryStore, inspector: Inspector) -> None:
    """An id that is not text of 1 to 512 bytes in UTF-8 is a ValueError, and nothing is stored.

    Look for a call that sends the id to the server before checking it.
    """
    calls: dict[str, Callable[[Any], object]] = {
        "append_message": lambda bad: store.append_message(bad, Message("user", "hi")),
        "append_messages": lambda bad: store.append_messages(bad, turn("hi", 1, 2)),
        "append_messages of none": lambda bad: store.append_messages(bad, []),
        "get_history": store.get_history,
        "save_context": lambda bad: store.save_context(bad, {}),
        "load_context": store.load_context,
        "update_context": lambda bad: store.update_context(bad, lambda value: value),
        "load_session": store.load_session,
        "delete_session": store.delete_session,
        "set_ttl": lambda bad: store.set_ttl(bad, 60),
        "get_ttl": store.get_ttl,
        "lock": lambda bad: store.lock(bad, lease=1, wait=0).__enter__(),
    }
    store.append_message(LONGEST, Message("user", "512 bytes are fine"))
    for name, call in calls.items():
        raised = {bad: raised_by(call, bad) for bad in BAD}
        wrong = {bad: error for bad, error in raised.items() if error is not ValueError}
        assert wrong == {}, f"{name} raised this for these ids instead of ValueError"
    assert inspector.sessions() == {LONGEST}


@contract("iso-3")
@needs("history", "context", "sessions")
def test_namespaces_are_invisible_to_each_other(
    open_store: OpenStore, inspect: Callable[[str], Inspector], namespace: str
) -> None:
    """Two namespaces on one server never see, list or delete each other's sessions.

    Look at the listing's pattern, and at prefixes: "a" must not list "a2", nor "a*" list "a".
    """
    names = [namespace, f"{namespace}2", f"{namespace}*", f"{namespace}:"]
    stores = {name: open_store(namespace=name) for name in names}
    raw = {name: inspect(name) for name in names}
    for name, store in stores.items():
        for session_id in ("shared", f"only in {name}"):
            store.append_message(session_id, Message("user", name))
            store.save_context(session_id, {"id": name})

    for name, store in stores.items():
        assert sorted(store.iter_sessions()) == [f"only in {name}", "shared"]
        assert raw[name].sessions() == {f"only in {name}", "shared"}
        for other in names:
            assert identity(store, f"only in {other}") == (
                ([name], {"id": name}) if other == name else ([], None)
            )
    for name, store in stores.items():
        assert identity(store, "shared") == ([name], {"id": name})
        assert store.delete_session("shared"), "it was deleted with another namespace's"
        assert [store.delete_session(f"only in {other}") for other in names].count(True) == 1
