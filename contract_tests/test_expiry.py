"""ttl: how long a session lives, and what changes it."""

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
from stores.interface import MemoryStore, Message

pytestmark = needs("history", "context", "ttl")

SESSION = "a session"
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

    Look for TTLs cut to whole seconds, which makes 0.75 s into none or a whole one.
    """
    day = timedelta(days=1, milliseconds=1)
    for ttl, other, seconds, other_seconds in (
        (1000.75, day, 1000.75, 86400.001),
        (day, 2000.75, 86400.001, 2000.75),
    ):
        store = open_store(ttl=ttl)
        store.load_context(SESSION)  # connects: a lifetime is known as well as its start
        written = Span.of(partial(store.append_message, SESSION, Message("user", "hi")))
        assert_lives(inspector, SESSION, seconds, written)
        given = Span.of(partial(store.set_ttl, SESSION, other))
        assert_lives(inspector, SESSION, other_seconds, given)
        store.delete_session(SESSION)
    store = open_store(ttl=None)
    store.append_message(SESSION, Message("user", "hi"))
    assert inspector.ttl(SESSION) is None
    assert store.get_ttl(SESSION) is None
