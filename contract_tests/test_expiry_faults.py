"""ttl: lifetimes across cut connections, stopped servers and sweepers."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import pytest

from contract_tests.fix_faults import Proxied
from contract_tests.fix_stores import OpenStore
from contract_tests.fix_sweeper import Sweeping
from contract_tests.lifetimes import Span
from contract_tests.workload import turn
from harness.contracts import contract, needs
from harness.inspectors import Inspector
from harness.polling import eventually
from stores.errors import NoSuchSession, StoreError
from stores.interface import MemoryStore, Message

pytestmark = needs("history", "context", "ttl")

MOST_REQUESTS = 20
"""No write of one session needs more, a new connection included."""
MANY = 40
"""Sessions to sweep one by one: some 20 ms of a sweeper's time."""
SWEPT_SECONDS = 8.0
"""Within which all are gone, where a busy disk takes a tenth of a second for each commit."""
LATE = 0.010
"""Seconds that a sweeper waits for each reply, while a writer makes ten writes."""
QUICK = 1.0
"""Seconds: a write that waits for nobody takes a thousandth of it."""


@contract("ttl-4")
@needs("network")
def test_a_cut_connection_never_leaves_a_session_without_its_ttl(
    proxied: Proxied, open_store: OpenStore, inspector: Inspector
) -> None:
    """A connection lost anywhere inside a write never leaves a session that lives for ever.

    Look for a write of several commands, of which the last one sets the TTL.
    """
    store = open_store(url=proxied.url, ttl=60, timeout=2.0)
    store.append_message("a connection that is there already", Message("user", "hi"))
    writes: dict[str, Callable[[str], object]] = {
        "append to new": lambda one: store.append_messages(one, turn("new", 1, 2)),
        "append to old": lambda one: store.append_messages(one, turn("new", 1, 2)),
        "save over new": lambda one: store.save_context(one, {"new": True}),
        "save over old": lambda one: store.save_context(one, {"new": True}),
        "update of new": lambda one: store.update_context(one, lambda value: {**value, "n": 1}),
    }
    for name, write in writes.items():
        for requests in range(1, MOST_REQUESTS):
            session_id = f"{name}, cut after {requests}"
            if name.endswith("old"):
                store.append_message(session_id, Message("user", "before"))
                store.save_context(session_id, {"before": True})
            store.ping()
            with proxied.proxy.cut_after(requests):
                done = try_to(partial(write, session_id))
            if inspector.present(session_id):
                assert inspector.ttl(session_id) is not None, f"{session_id}: it has no TTL"
            if done:
                break
        assert done, f"{name} was not done in {MOST_REQUESTS} requests"
        assert requests > 1, f"{name} was done although its first reply was lost"


def try_to(write: Callable[[], object]) -> bool:
    """Tell whether a write went through."""
    try:
        write()
    except StoreError:
        return False
    return True


@contract("ttl-8")
@needs("sweeper")
def test_the_sweeper_deletes_in_batches_and_waits_for_nobody(
    sweeping: Sweeping, store: MemoryStore, inspector: Inspector
) -> None:
    """Expired sessions are deleted batch by batch, and one in a transaction's hands is left out.

    Look for one long transaction over all, and for waiting on rows that others have locked.
    """
    store.append_message("lives", Message("user", "hi"))
    expired = {f"expired {number}" for number in range(MANY)}
    with sweeping.dead():
        inspector.plant_sessions(["held", *expired], b"{}", ttl=0.001)
        time.sleep(0.002)
        left: list[int] = []

        def only_two_left() -> bool:
            left.append(len(inspector.sessions()))
            return left[-1] == 2

        with inspector.uncommitted_append("held", b"{}"), sweeping.without_pause(batch=1):
            assert eventually(only_two_left, SWEPT_SECONDS), (
                f"{left[-1] - 2} were not swept while one was locked"
            )
        assert set(left) - {2, MANY + 2}, f"swept all at once: {left} were there"
        with sweeping.without_pause(batch=1):
            assert eventually(lambda: not inspector.present("held"), SWEPT_SECONDS)
    assert inspector.sessions() == {"lives"}


@contract("ttl-8")
@needs("sweeper")
def test_writers_go_on_during_a_sweep(
    sweeping: Sweeping, proxied: Proxied, open_store: OpenStore, inspector: Inspector
) -> None:
    """A sweep makes no writer wait, and never deletes a session that began anew meanwhile.

    Look for a sweeper that chooses expired sessions first, and deletes them later by their id.
    """
    store = open_store(ttl=60)
    assert store.load_session("the first call makes what tables it needs") is None
    expired = [f"expired {number}" for number in range(10 * MANY)]
    began: list[str] = []
    slowest = 0.0
    with sweeping.dead():
        inspector.plant_sessions([*expired, "never written"], b"{}", ttl=0.001)
        time.sleep(0.002)
        # A late reply gives writers time between what a sweeper asks and what it does then.
        late, sweep = proxied.proxy.delay(LATE), sweeping.without_pause(batch=500, url=proxied.url)
        with late, sweep:
            for session_id in expired:
                written = Span.of(partial(store.append_messages, session_id, turn("new", 1, 2)))
                slowest = max(slowest, written.end - written.start)
                began.append(session_id)
                if not inspector.present("never written"):
                    break
            assert eventually(lambda: not inspector.present("never written"), SWEPT_SECONDS), (
                "nothing was swept"
            )
    assert slowest < QUICK, "a writer waited for the sweeper"
    assert inspector.sessions() == set(began), "what began anew was swept, or what had expired not"
    positions = [[record.position for record in inspector.messages(one)] for one in began]
    assert positions == [[1, 2]] * len(began)


@contract("ttl-8")
@needs("sweeper", "sessions")
def test_a_dead_sweeper_changes_no_answer(
    sweeping: Sweeping, open_store: OpenStore, inspector: Inspector
) -> None:
    """While no sweeper runs, an expired session takes room, and is absent for every call.

    Look for calls that count on expired sessions being deleted.
    """
    store = open_store()
    with sweeping.dead():
        for session_id in ("read", "deleted", "begun anew"):
            store.append_messages(session_id, turn("old", 1, 2))
            store.save_context(session_id, {"old": True})
            store.set_ttl(session_id, 0.010)
        time.sleep(0.012)
        assert inspector.present("read"), (
            "something deleted it, so that this contract shows nothing"
        )
        assert store.get_history("read") == []
        assert store.load_context("read") is None
        assert store.load_session("read") is None
        assert list(store.iter_sessions()) == []
        with pytest.raises(NoSuchSession):
            store.get_ttl("read")
        assert store.delete_session("deleted") is False
        assert store.append_message("begun anew", Message("user", "hi")).position == 1
        assert len(inspector.messages("begun anew")) == 1
