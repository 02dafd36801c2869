"""iso: ids and namespaces that never meet, and deletes that take one session and no more."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from contract_tests.fix_stores import OpenStore
from harness.contracts import contract, needs
from harness.crowd import together
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
BIG = 10_001
"""Messages: more than what Lua's unpack takes at once (8000)."""
ROUNDS = 20
PAGED = 520
"""Sessions: more than a page of any listing."""
CHURN = 20
EXPIRY = 0.002


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


def every_operation(store: MemoryStore) -> None:
    """Use each call of the interface, in its plain and in its guarded form."""
    session = "every operation"
    store.ping()
    stored = store.append_message(session, Message("user", "hello", id="1"))
    store.append_messages(session, [Message("user", "how"), Message("assistant", "so")])
    store.append_message(session, stored.message)
    assert len(store.get_history(session)) == 3
    assert len(store.get_history(session, limit=1, before=3)) == 1
    version = store.save_context(session, {"mood": "good"})
    store.save_context(session, {"mood": "better"}, if_version=version)
    store.update_context(session, lambda value: {**value, "more": 1})
    assert store.load_context(session) is not None
    assert store.load_session(session) is not None
    store.set_ttl(session, 60)
    assert store.get_ttl(session) is not None
    store.set_ttl(session, None)
    with store.lock(session, lease=60, wait=0) as lease:
        lease.renew()
        store.append_message(session, Message("user", "fenced"), fence=lease.token)
        store.save_context(session, {}, fence=lease.token)
    assert list(store.iter_sessions()) == [session]
    assert store.delete_session(session)


@contract("iso-1")
@needs("history", "context", "sessions")
def test_ids_that_look_alike_never_meet(store: MemoryStore, inspector: Inspector) -> None:
    """Whatever characters an id has, it never sees, lists or deletes the session of another.

    Look for patterns, quoting, folding of case or accents, trimming, and keys joined from parts.
    """
    for session_id in NEIGHBOURS:
        identify(store, session_id)

    found = {session_id: identity(store, session_id) for session_id in NEIGHBOURS}
    assert found == {session_id: ([session_id], {"id": session_id}) for session_id in NEIGHBOURS}
    listed = list(store.iter_sessions())
    assert sorted(listed) == sorted(NEIGHBOURS)
    assert inspector.sessions() == set(NEIGHBOURS)

    left = set(NEIGHBOURS)
    for session_id in NEIGHBOURS:
        assert store.delete_session(session_id), f"{session_id!r} was gone before its turn"
        left.remove(session_id)
        assert inspector.sessions() == left, f"deleting {session_id!r} took another, or not it"


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
        "append_messages": lambda bad: store.append_messages(bad, turn("hi")),
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
    for bad in (LONGEST + "x", "", "\ud800", "a\udc80", None, 5, b"bytes", ("a",)):
        raised = {name: raised_by(call, bad) for name, call in calls.items()}
        assert raised == dict.fromkeys(calls, ValueError), f"for the id {bad!r}"
    assert inspector.sessions() == {LONGEST}


@contract("iso-2")
@needs("history", "context")
def test_delete_takes_one_session_and_nothing_else(
    store: MemoryStore, inspector: Inspector
) -> None:
    """Deleting a session removes all of it, and nothing of others, whoever they are.

    Look for deletes by pattern or prefix, and for parts of a session that are kept elsewhere.
    """
    identify(store, "long")
    for neighbour in ("long:", "lon", "long*", "*"):
        identify(store, neighbour)
    inspector.plant_neighbours()
    before, own = inspector.everything(), inspector.owner_of("long")
    assert any(name.startswith(own) for name in before), "the session is not where it should be"

    assert store.delete_session("long") is True
    after = inspector.everything()
    assert [name for name in after if name.startswith(own)] == [], "a part of the session stayed"
    others = {name: digest for name, digest in before.items() if not name.startswith(own)}
    assert after == others, "what belongs to others changed"
    assert store.delete_session("long") is False
    assert store.load_session("long") is None


@contract("iso-2")
@needs("bulk", "history", "context")
def test_delete_takes_the_whole_of_a_long_session(store: MemoryStore, inspector: Inspector) -> None:
    """Deleting a session of more than 10 000 messages removes all of it at once.

    Look for limits on the arguments of one command, and for deletes in batches that stop early.
    """
    identify(store, "beside")
    before = inspector.everything()
    inspector.plant_history("long", BIG, b"{}")
    store.save_context("long", {"some": "context"})

    assert store.delete_session("long") is True
    assert not inspector.present("long")
    assert inspector.messages("long") == []
    assert inspector.everything() == before


@contract("iso-2")
@needs("monitor", "history", "context", "sessions", "ttl", "lock")
def test_no_operation_scans_or_flushes_the_server(
    open_store: OpenStore, inspector: Inspector
) -> None:
    """No operation uses KEYS, FLUSHDB or FLUSHALL.

    They stop a shared server, or empty it.
    """
    with inspector.watching() as work, open_store() as store:
        every_operation(store)
        store.close()
    assert len(work.commands) > 20, "the server did not tell what it ran"
    assert {"KEYS", "FLUSHDB", "FLUSHALL"}.isdisjoint(work.commands)


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


@contract("iso-4")
@needs("history", "context")
def test_a_delete_during_an_append_leaves_a_whole_session_or_none(
    store: MemoryStore, inspector: Inspector
) -> None:
    """A delete that meets an append leaves the new turn alone, as a new session, or nothing.

    Look for a delete or an append made of several steps, and for counters that outlive a delete.
    """
    sessions = [f"session {number}" for number in range(ROUNDS)]
    for session_id in sessions:
        store.append_messages(session_id, turn("old"))
        store.save_context(session_id, {"old": True})
    start = threading.Barrier(2, timeout=10)

    def delete() -> list[bool]:
        return [store.delete_session(one) for one in sessions if start.wait() >= 0]

    def append() -> list[bool]:
        return [
            bool(store.append_messages(one, turn("new"))) for one in sessions if start.wait() >= 0
        ]

    deleted, appended = together([delete, append])
    assert all(deleted), "there was a session to delete in every round"
    assert all(appended)
    for session_id in sessions:
        left = store.load_session(session_id)
        raw = [(record.position, record.message_id) for record in inspector.messages(session_id)]
        if left is None:
            assert raw == [], "messages stayed behind that no reader can see"
            assert not inspector.present(session_id)
        else:
            assert left.context is None, "the deleted session's context came back"
            assert raw == [(1, "new-0"), (2, "new-1")], "not exactly the new turn, from 1"
            assert [(m.position, m.id) for m in left.history] == raw


@contract("iso-5")
@needs("history", "context", "sessions")
@pytest.mark.parametrize("count", [CHURN, pytest.param(PAGED, marks=needs("bulk"))])
def test_listing_gives_each_live_session_once_while_others_come_and_go(
    store: MemoryStore, inspector: Inspector, count: int
) -> None:
    """Listing gives each session that lives all the while once, and no expired one.

    Look for paging by offset, and for what the server repeats while its tables grow or shrink.
    """
    stable = {f"stable {number}" for number in range(count)}
    gone = [f"gone {number}" for number in range(CHURN)]
    for session_id in ("whole", "whole too"):
        store.append_messages(session_id, turn("of two"))
        store.save_context(session_id, {})
    inspector.plant_sessions([f"expired {number}" for number in range(CHURN)], b"{}", EXPIRY)
    inspector.plant_sessions([*stable, *gone], b"{}")
    time.sleep(EXPIRY)

    def come_and_go() -> list[str]:
        for _ in range(CHURN):
            store.append_message("visitor", Message("user", "hi"))
            store.delete_session("visitor")
        return []

    def list_all() -> list[str]:
        ids = store.iter_sessions()
        listed = [next(ids)]
        # Behind the first page, some of what it listed goes and as much again comes.
        for session_id in gone:
            store.delete_session(session_id)
        inspector.plant_sessions([f"new {number}" for number in range(CHURN)], b"{}")
        return listed + list(ids)

    listed, _ = together([list_all, come_and_go])
    assert len(listed) == len(set(listed)), "a session was listed twice"
    assert {*stable, "whole", "whole too"} - set(listed) == set(), (
        "sessions that live all the while were left out"
    )
    assert [one for one in listed if one.startswith("expired")] == []


@contract("iso-6")
@needs("accounts", "history", "context", "sessions", "ttl", "lock")
def test_the_documented_privileges_are_enough(open_store: OpenStore, inspector: Inspector) -> None:
    """Every operation works for a user with no more rights than docs/stores.md asks for.

    Look for a command or a statement that the documentation does not grant.
    """
    every_operation(open_store(url=inspector.least_privilege_url()))


def turn(name: str) -> list[Message]:
    """Return two messages that tell what turn they are of."""
    return [Message("user", name, id=f"{name}-{number}") for number in range(2)]
