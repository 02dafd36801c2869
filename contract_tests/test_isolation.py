"""iso: deletes and listings among others' data, and the rights that a store needs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial

import pytest

from contract_tests.fix_stores import OpenStore
from contract_tests.workload import turn
from harness.contracts import contract, needs
from harness.crowd import together
from harness.inspectors import Inspector
from stores.interface import MemoryStore, Message

BIG = 10_001
"""Messages: more than what Lua's unpack takes at once (8000)."""
ROUNDS = 12
PAGED = 520
"""Sessions: more than a page of any listing."""
CHURN = 10
EXPIRY = 0.002
ENDED = EXPIRY + 0.002
"""Seconds: a server that counts in milliseconds lets a session live through its last one."""


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


@contract("iso-2")
@needs("raw_records", "history", "context")
def test_delete_takes_one_session_and_nothing_else(
    store: MemoryStore, inspector: Inspector
) -> None:
    """Deleting a session removes all of it, and nothing of others, whoever they are.

    Look for deletes by pattern or prefix, and for parts of a session that are kept elsewhere.
    """
    for session_id in ("long", "long:", "lon", "long*", "*"):
        store.append_messages(session_id, turn(session_id, 1, 2))
        store.save_context(session_id, {"id": session_id})
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
@needs("raw_records", "bulk", "history", "context")
def test_delete_takes_the_whole_of_a_long_session(store: MemoryStore, inspector: Inspector) -> None:
    """Deleting a session of more than 10 000 messages removes all of it at once.

    Look for limits on the arguments of one command, and for deletes in batches that stop early.
    """
    store.append_message("beside", Message("user", "hi"))
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
        store.append_messages(session_id, turn("old", 1, 2))
        store.save_context(session_id, {"old": True})
    start = threading.Barrier(2, timeout=10)

    def delete(session_id: str) -> None:
        assert store.delete_session(session_id), "there was a session to delete"

    def append(session_id: str) -> None:
        store.append_messages(session_id, turn("new", 1, 2))

    def in_step(write: Callable[[str], None]) -> None:
        for session_id in sessions:
            start.wait()
            write(session_id)

    together([partial(in_step, delete), partial(in_step, append)])
    for session_id in sessions:
        left = store.load_session(session_id)
        raw = [(record.position, record.message_id) for record in inspector.messages(session_id)]
        if left is None:
            assert raw == [], "messages stayed behind that no reader can see"
            assert not inspector.present(session_id)
        else:
            assert left.context is None, "the deleted session's context came back"
            assert raw == [(1, "new-1-1"), (2, "new-1-2")], "not exactly the new turn, from 1"
            assert [(m.position, m.id) for m in left.history] == raw


@contract("iso-5")
@needs("raw_records", "history", "context", "sessions")
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
        store.append_messages(session_id, turn("w", 1, 2))
        store.save_context(session_id, {})
    inspector.plant_sessions([f"expired {number}" for number in range(CHURN)], b"{}", EXPIRY)
    inspector.plant_sessions([*gone, *stable], b"{}")
    time.sleep(ENDED)

    def come_and_go() -> list[str]:
        for _ in range(CHURN):
            store.append_message("visitor", Message("user", "hi"))
            store.delete_session("visitor")
        return []

    def list_all() -> list[str]:
        ids = store.iter_sessions()
        listed = [next(ids)]
        # Some of what the first page listed goes, and others come behind the last.
        for session_id in gone:
            store.delete_session(session_id)
        inspector.plant_sessions([f"~new {number}" for number in range(CHURN)], b"{}")
        return listed + list(ids)

    listed, _ = together([list_all, come_and_go])
    assert len(listed) == len(set(listed)), "a session was listed twice"
    assert {*stable, "whole", "whole too"} - set(listed) == set(), (
        "sessions that live all the while were left out"
    )
    assert [one for one in listed if one.startswith("expired")] == []


@contract("iso-6")
@needs("raw_records", "accounts", "history", "context", "sessions", "ttl", "lock")
def test_the_documented_privileges_are_enough(open_store: OpenStore, inspector: Inspector) -> None:
    """Every operation works for a user with no more rights than docs/stores.md asks for.

    Look for a command or a statement that the documentation does not grant.
    """
    every_operation(open_store(url=inspector.least_privilege_url()))
