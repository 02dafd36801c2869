"""ttl: when a session expires, and what is left of it then."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

from contract_tests.fix_stores import OpenStore
from contract_tests.lifetimes import Span, assert_lives
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
GAP = 0.010
"""Seconds after which a TTL that slides differs from one that does not."""


def append_one(store: MemoryStore, session_id: str) -> None:
    """Append a message."""
    store.append_message(session_id, Message("user", "hi"))


def append_turn(store: MemoryStore, session_id: str) -> None:
    """Append two messages at once."""
    store.append_messages(session_id, [Message("user", "how"), Message("assistant", "so")])


def save(store: MemoryStore, session_id: str) -> None:
    """Save a context over whatever there is."""
    store.save_context(session_id, {"n": 1})


def save_guarded(store: MemoryStore, session_id: str) -> None:
    """Save a context over the version that is stored."""
    context = store.load_context(session_id)
    store.save_context(session_id, {"n": 2}, if_version=context.version if context else 0)


def update(store: MemoryStore, session_id: str) -> None:
    """Change the context."""
    store.update_context(session_id, lambda value: {**value, "n": 3})


WRITES = (append_one, save, append_turn, update, save_guarded)
"""Each kind of write; histories and contexts take turns, and each is overwritten."""


def turn(name: str) -> list[Message]:
    """Return two messages whose ids tell what turn they are of."""
    return [Message("user", name, id=f"{name}-{number}") for number in range(2)]


def live(store: MemoryStore, session_id: str) -> int:
    """Write a whole session; return its context's version."""
    store.append_messages(session_id, turn("old"))
    return store.save_context(session_id, {"old": True})


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
    assert seen == {name: absent for name, (_, absent) in looks.items()}


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


@contract("ttl-1")
@needs("active_expiry")
def test_an_expired_session_goes_although_nobody_touches_it(
    open_store: OpenStore, inspector: Inspector
) -> None:
    """After its TTL a session leaves the server as a whole, though nobody reads or writes it.

    Look for parts of a session that have no TTL; and whether the sweeper runs.
    """
    store = open_store(ttl=SHORT)
    live(store, SESSION)
    own = inspector.owner_of(SESSION)

    assert eventually(lambda: not inspector.present(SESSION)), "it still takes room after 2 s"
    assert inspector.messages(SESSION) == []
    assert inspector.context(SESSION) is None
    assert [name for name in inspector.everything() if name.startswith(own)] == []


@contract("ttl-2")
@needs("sessions")
def test_every_write_refreshes_the_ttl_and_no_read_does(
    open_store: OpenStore, inspector: Inspector
) -> None:
    """Each kind of write gives the whole session its full TTL anew; reading changes nothing.

    Look for a write that keeps, drops or forgets the TTL of what it overwrites.
    """
    stores = [(open_store(ttl=1000), 1000.0), (open_store(ttl=2000), 2000.0)]
    for number, write in enumerate(WRITES):
        store, ttl = stores[number % 2]
        written = Span.of(partial(write, store, SESSION))
        assert_lives(inspector, SESSION, ttl, written)

    for store, _ in stores:
        store.get_history(SESSION)
        store.load_context(SESSION)
        store.load_session(SESSION)
        list(store.iter_sessions())
        left = store.get_ttl(SESSION)
        assert left is not None
        assert abs(left.total_seconds() - ttl) < 60, "get_ttl tells another TTL than there is"
    assert_lives(inspector, SESSION, ttl, written)


@contract("ttl-2")
def test_a_sessions_own_ttl_slides_with_every_write(
    open_store: OpenStore, inspector: Inspector
) -> None:
    """A TTL given with set_ttl holds from then on: each write starts it anew, whoever writes.

    Look for writes that apply the store's TTL although the session has its own.
    """
    store, other = open_store(ttl=1000), open_store(ttl=None)
    for write in WRITES:
        session_id = write.__name__
        write(store, session_id)
        given = Span.of(partial(store.set_ttl, session_id, 500))
        assert_lives(inspector, session_id, 500, given)
    time.sleep(GAP)
    for number, write in enumerate(WRITES):
        session_id = write.__name__
        written = Span.of(partial(write, (other, store)[number % 2], session_id))
        assert_lives(inspector, session_id, 500, written)

    for write in WRITES:
        session_id = write.__name__
        store.set_ttl(session_id, None)
        write(store, session_id)
        assert inspector.ttl(session_id) is None, f"{session_id} gave a TTL to what has none"
    assert store.get_ttl(session_id) is None


@contract("ttl-3")
def test_a_ttl_that_is_no_lifetime_is_refused(
    store: MemoryStore, open_store: OpenStore, inspector: Inspector
) -> None:
    """A TTL that is 0, negative, not finite, over 1000 years or no number is a ValueError.

    Look for a slip of configuration that makes sessions live for ever, or not at all.
    """
    no_lifetimes: list[Any] = [
        *(0, 0.0, -0.0, -1, -0.001, 0.0001, math.nan, math.inf, -math.inf, 2**62, 1e300, 10**400),
        *(timedelta(0), timedelta(seconds=-1), timedelta(microseconds=1), timedelta.max),
        *(True, False, "60", "", b"60", [60], {}),
    ]
    store.append_message(SESSION, Message("user", "hi"))
    store.set_ttl(SESSION, 1000)
    for ttl in no_lifetimes:
        refused = {
            "set_ttl": value_error(partial(store.set_ttl, SESSION, ttl)),
            "set_ttl of no session": value_error(partial(store.set_ttl, "none", ttl)),
            "opening a store": value_error(partial(open_store, ttl=ttl)),
        }
        assert all(refused.values()), f"for a TTL of {ttl!r}, ValueError: {refused}"
    left = inspector.ttl(SESSION)
    assert left is not None
    assert 900 < left <= 1000, "a TTL that was refused has changed the session's"
    assert inspector.sessions() == {SESSION}


def value_error(call: Callable[[], object]) -> bool:
    """Tell whether a call raises ValueError."""
    try:
        call()
    except ValueError:
        return True
    return False


@contract("ttl-3")
def test_a_ttl_keeps_its_milliseconds(open_store: OpenStore, inspector: Inspector) -> None:
    """Floats and timedeltas keep their milliseconds, and None is for ever.

    Look for TTLs cut to whole seconds, which makes 0.25 s into none or a whole one.
    """
    day = timedelta(days=1, milliseconds=1)
    for ttl, other, seconds, other_seconds in (
        (1000.25, day, 1000.25, 86400.001),
        (day, 2000.75, 86400.001, 2000.75),
    ):
        store = open_store(ttl=ttl)
        written = Span.of(partial(store.append_message, SESSION, Message("user", "hi")))
        assert_lives(inspector, SESSION, seconds, written)
        given = Span.of(partial(store.set_ttl, SESSION, other))
        assert_lives(inspector, SESSION, other_seconds, given)
        store.delete_session(SESSION)
    store = open_store(ttl=None)
    store.append_message(SESSION, Message("user", "hi"))
    assert inspector.ttl(SESSION) is None
    assert store.get_ttl(SESSION) is None


@contract("ttl-6")
def test_an_expired_session_starts_anew(store: MemoryStore, inspector: Inspector) -> None:
    """Writing to an expired session starts a new one: position 1, no old context, ids or TTL.

    Look for counters, indexes of ids and TTLs that outlive the session's messages.
    """
    versions = {name: live(store, name) for name in ("append", "save", "update", "stale")}
    for name in versions:
        store.set_ttl(name, SHORT)
    time.sleep(ENDED)

    reused = store.append_message("append", Message("user", "other content", id="old-0"))
    assert reused.position == 1, "the old counter went on, or the old message was taken for it"
    assert [message.content for message in store.get_history("append")] == ["other content"]
    assert [record.position for record in inspector.messages("append")] == [1]
    assert store.load_context("append") is None
    assert inspector.ttl("append") is None, "the TTL of the old session's own is still there"

    assert store.save_context("save", {"new": True}, if_version=0) > versions["save"]
    assert store.get_history("save") == []
    assert inspector.messages("save") == []
    assert store.append_messages("save", turn("old"))[0].position == 1

    updated = store.update_context("update", lambda value: {**value, "new": True})
    assert updated.value == {"new": True}, "the old context was there to be changed"
    assert inspector.messages("update") == []

    assert raised(lambda one: save_over(store, one, versions[one]), "stale") is Conflict
    assert store.load_session("stale") is None


def save_over(store: MemoryStore, session_id: str, version: int) -> None:
    """Save a context over that version of it."""
    store.save_context(session_id, {"new": True}, if_version=version)


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
