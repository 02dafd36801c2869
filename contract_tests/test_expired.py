"""ttl: what is left of a session that has expired, for whoever looks or writes."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from contract_tests.fix_stores import OpenStore
from contract_tests.workload import turn
from harness.contracts import contract, needs
from harness.inspectors import Inspector
from harness.polling import eventually
from stores.errors import Conflict, NoSuchSession
from stores.interface import MemoryStore, Message

pytestmark = needs("history", "context", "ttl")

SESSION = "a session"
SHORT = 0.020
"""Seconds: a TTL to wait for. Nothing is asserted of the time before it ends."""
ENDED = SHORT + 0.002


def live(store: MemoryStore, session_id: str) -> int:
    """Write a whole session; return its context's version."""
    store.append_messages(session_id, turn("old", 1, 2))
    return store.save_context(session_id, {"old": True})


def raised(call: Callable[[str], object], session_id: str) -> type[Exception] | None:
    """Return the type of the store's error, None if there was none."""
    try:
        call(session_id)
    except (NoSuchSession, Conflict) as error:
        return type(error)
    return None


def save_first(store: MemoryStore, session_id: str) -> None:
    """Save a context on condition that there is none."""
    store.save_context(session_id, {"first": True}, if_version=0)


def save_over(store: MemoryStore, session_id: str, version: int) -> None:
    """Save a context over that version of it."""
    store.save_context(session_id, {"new": True}, if_version=version)


@contract("ttl-1")
@needs("sessions")
def test_an_expired_session_is_gone_for_every_read(open_store: OpenStore) -> None:
    """After its TTL a session is gone as a whole for whoever looks first, by whatever call.

    Look for a call that does not ask whether the session has expired, or asks a client's clock.
    """
    store = open_store(ttl=SHORT)
    looks: dict[str, tuple[Callable[[str], object], object]] = {
        "get_history": (store.get_history, []),
        "get_history of all": (lambda one: store.get_history(one, limit=None), []),
        "load_context": (store.load_context, None),
        "load_session": (store.load_session, None),
        "listing": (lambda one: [found for found in store.iter_sessions() if found == one], []),
        "get_ttl": (partial(raised, store.get_ttl), NoSuchSession),
        "set_ttl": (partial(raised, lambda one: store.set_ttl(one, 60)), NoSuchSession),
        "delete_session": (store.delete_session, False),
        "save_context": (partial(raised, partial(save_first, store)), None),
    }
    for session_id in looks:
        live(store, session_id)
    time.sleep(ENDED)

    seen = {name: look(name) for name, (look, _) in looks.items()}
    there = {name: got for name, got in seen.items() if got != looks[name][1]}
    assert there == {}, "these calls took the session for a live one"


@contract("ttl-1")
@needs("active_expiry")
def test_an_expired_session_goes_although_nobody_touches_it(
    open_store: OpenStore, inspector: Inspector
) -> None:
    """After its TTL a session leaves the server as a whole, though nobody reads or writes it.

    Look for parts of a session that have no TTL; and whether the sweeper runs.
    """
    store = open_store(ttl=SHORT)
    before = set(inspector.everything())
    live(store, SESSION)

    assert eventually(lambda: not inspector.present(SESSION)), "it still takes room after 2 s"
    assert inspector.messages(SESSION) == []
    assert inspector.context(SESSION) is None
    assert set(inspector.everything()) - before == set(), "something of it stayed"


@contract("ttl-6")
def test_an_expired_session_starts_anew(store: MemoryStore, inspector: Inspector) -> None:
    """Writing to an expired session starts a new one: position 1, no old context, ids or TTL.

    Look for counters, indexes of ids and TTLs that outlive the session's messages.
    """
    versions = {name: live(store, name) for name in ("append", "save", "update", "stale")}
    for name in versions:
        store.set_ttl(name, SHORT)
    time.sleep(ENDED)

    reused = store.append_message("append", Message("user", "other content", id="old-1-1"))
    assert reused.position == 1, "the old counter went on, or the old message was taken for it"
    assert [message.content for message in store.get_history("append")] == ["other content"]
    assert [record.position for record in inspector.messages("append")] == [1]
    assert store.load_context("append") is None
    assert inspector.ttl("append") is None, "the TTL of the old session's own is still there"

    assert store.save_context("save", {"new": True}, if_version=0) > versions["save"]
    assert store.get_history("save") == []
    assert inspector.messages("save") == []
    assert store.append_messages("save", turn("old", 1, 2))[0].position == 1

    updated = store.update_context("update", lambda value: {**value, "new": True})
    assert updated.value == {"new": True}, "the old context was there to be changed"
    assert inspector.messages("update") == []

    assert raised(lambda one: save_over(store, one, versions[one]), "stale") is Conflict
    assert store.load_session("stale") is None


@contract("ttl-7")
def test_a_session_that_expires_during_an_update_is_not_brought_back(
    store: MemoryStore, inspector: Inspector
) -> None:
    """A session that expires between an update's read and its write is seen: no write on a ghost.

    Look for an update that saves what it read before, on a session that is gone.
    """
    live(store, SESSION)
    seen: list[dict[str, Any]] = []

    def change(value: dict[str, Any]) -> dict[str, Any]:
        seen.append(value)
        if len(seen) == 1:
            store.set_ttl(SESSION, SHORT)
            time.sleep(ENDED)
        return {**value, "changed": len(seen)}

    assert store.update_context(SESSION, change).value == {"changed": 2}
    assert seen == [{"old": True}, {}]
    assert store.get_history(SESSION) == []
    assert inspector.messages(SESSION) == []
    assert inspector.ttl(SESSION) is None, "the old session's own TTL came back"


@contract("ttl-7")
def test_a_session_that_began_anew_during_an_update_is_not_overwritten(
    store: MemoryStore,
) -> None:
    """An update never lands on another session of the same id that began after its read.

    Look for versions that start from the same number in each life of a session.
    """
    live(store, SESSION)
    seen: list[dict[str, Any]] = []

    def change(value: dict[str, Any]) -> dict[str, Any]:
        seen.append(value)
        if len(seen) == 1:
            store.set_ttl(SESSION, 0.001)
            assert eventually(lambda: store.load_session(SESSION) is None)
            store.append_message(SESSION, Message("user", "new"))
            store.save_context(SESSION, {"new": True})
        return {**value, "changed": len(seen)}

    assert store.update_context(SESSION, change).value == {"new": True, "changed": 2}
    assert seen == [{"old": True}, {"new": True}]
    assert [message.content for message in store.get_history(SESSION)] == ["new"]
