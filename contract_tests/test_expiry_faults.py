"""ttl: lifetimes across cut connections, stopped servers and sweepers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import pytest

from contract_tests.fix_cell import MATRIX
from contract_tests.fix_faults import Proxied
from contract_tests.fix_stores import RUN, OpenStore
from contract_tests.fix_sweeper import Sweeping
from contract_tests.lifetimes import Span, assert_lives
from harness.contracts import contract, needs
from harness.faces import LoopThread
from harness.inspectors import Inspector
from harness.matrix import Cell, Store
from harness.opening import Opening, choose_stores
from harness.polling import eventually
from harness.servers import Server
from stores.errors import NoSuchSession, StoreError
from stores.interface import MemoryStore, Message

pytestmark = needs("history", "context", "ttl")

MOST_REQUESTS = 20
"""No write of one session needs more, a new connection included."""
OUTLIVED = 0.150
"""Seconds: a TTL that runs out while the server is down."""
MANY = 40
"""Sessions to sweep one by one: some 20 ms of a sweeper's time."""
QUICK = 1.0
"""Seconds: a write that waits for nobody takes a thousandth of it."""


def turn(name: str) -> list[Message]:
    """Return two messages whose ids tell what turn they are of."""
    return [Message("user", name, id=f"{name}-{number}") for number in range(2)]


@contract("ttl-4")
def test_a_cut_connection_never_leaves_a_session_without_its_ttl(
    proxied: Proxied, open_store: OpenStore, inspector: Inspector
) -> None:
    """A connection lost anywhere inside a write never leaves a session that lives for ever.

    Look for a write of several commands, of which the last one sets the TTL.
    """
    store = open_store(url=proxied.url, ttl=60, timeout=2.0)
    store.append_message("a connection that is there already", Message("user", "hi"))
    writes: dict[str, Callable[[str], object]] = {
        "append to new": lambda one: store.append_messages(one, turn("new")),
        "append to old": lambda one: store.append_messages(one, turn("new")),
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


@dataclass
class Outage:
    """What was written before the server went down, and the namespaces it is in, by store."""

    namespaces: dict[str, str]
    written: dict[str, dict[str, Span]] = field(default_factory=dict)


Outages = Callable[[str], Outage]
LIFETIMES = {"the store's": 1000.0, "its own": 500.0, "for ever": None}


@pytest.fixture(scope="session")
def outages(pytestconfig: pytest.Config, cell: Cell, server: Server, loop: LoopThread) -> Outages:
    """Let each event happen once to the server, whatever the number of stores."""
    stores = pytestconfig.stash[MATRIX].stores_of(cell)
    rows = choose_stores(stores, pytestconfig.getoption("store"))
    happened: dict[str, Outage] = {}

    def outage(event: str) -> Outage:
        if event not in happened:
            happened[event] = happen(event, rows)
        return happened[event]

    def happen(event: str, rows: list[Store]) -> Outage:
        names = {row.name: f"matrix-{RUN}-{event}-{row.name}" for row in rows}
        done = Outage(names)
        for row in rows:
            options = {**cell.store_options, "ttl": 1000}
            opening = Opening(row.factory, server.url, names[row.name], options)
            with opening.open(loop) as store:
                done.written[row.name] = {name: write(store, name) for name in LIFETIMES}
                store.append_messages("outlived", turn("old"))
                store.set_ttl("outlived", OUTLIVED)
        {"restart": server.stop, "kill": server.kill}[event]()
        time.sleep(OUTLIVED)
        server.start()
        return done

    def write(store: MemoryStore, name: str) -> Span:
        store.append_messages(name, turn("old"))
        store.save_context(name, {"old": True})
        if name == "the store's":
            return Span.of(partial(store.append_message, name, Message("user", "last")))
        return Span.of(partial(store.set_ttl, name, LIFETIMES[name]))

    return outage


@contract("ttl-5")
@pytest.mark.parametrize(
    "event",
    [pytest.param("restart", marks=needs("restart")), pytest.param("kill", marks=needs("kill"))],
)
def test_a_lifetime_goes_on_while_the_server_is_down(
    outages: Outages,
    store_row: Store,
    cell: Cell,
    open_store: OpenStore,
    inspect: Callable[[str], Inspector],
    event: str,
) -> None:
    """A TTL survives restart and kill, and goes on meanwhile: it may run out, not start anew.

    Look for TTLs that are kept in memory only, or stored as a duration instead of a moment.
    """
    outage = outages(event)
    namespace = outage.namespaces[store_row.name]
    inspector, store = inspect(namespace), open_store(namespace=namespace)
    for name, since in outage.written[store_row.name].items():
        if store.load_session(name) is None:
            promise = cell.promises[event]
            assert promise.kind != "keeps_all", f"{name!r} is lost; the row promises {promise}"
        elif (seconds := LIFETIMES[name]) is None:
            assert inspector.ttl(name) is None
            assert store.get_ttl(name) is None
        else:
            assert_lives(inspector, name, seconds, since, slack=OUTLIVED / 2)

    assert store.load_session("outlived") is None, "it ran out while the server was down"
    assert "outlived" not in store.iter_sessions()
    with pytest.raises(NoSuchSession):
        store.get_ttl("outlived")
    assert store.append_message("outlived", Message("user", "new")).position == 1


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
        inspector.plant_sessions([*expired, "held"], b"{}", ttl=0.001)
        time.sleep(0.002)
        left: list[int] = []

        def only_two_left() -> bool:
            left.append(len(inspector.sessions()))
            return left[-1] == 2

        with inspector.uncommitted_append("held", b"{}"), sweeping.one_by_one():
            assert eventually(only_two_left), f"{left[-1] - 2} were not swept while one was locked"
        assert set(left) - {2, MANY + 2}, f"swept all at once: {left} were there"
        with sweeping.one_by_one():
            assert eventually(lambda: not inspector.present("held"))
    assert inspector.sessions() == {"lives"}


@contract("ttl-8")
@needs("sweeper")
def test_writers_go_on_during_a_sweep(
    sweeping: Sweeping, open_store: OpenStore, inspector: Inspector
) -> None:
    """A sweep makes no writer wait, and never deletes a session that began anew meanwhile.

    Look for a sweeper that chooses expired sessions first, and deletes them later by their id.
    """
    store = open_store(ttl=60)
    expired = [f"expired {number}" for number in range(MANY)]
    with sweeping.dead():
        inspector.plant_sessions([*expired, *(f"more {one}" for one in expired)], b"{}", ttl=0.001)
        time.sleep(0.002)
        slowest = 0.0
        with sweeping.one_by_one():
            for session_id in expired:
                written = Span.of(partial(store.append_messages, session_id, turn("new")))
                slowest = max(slowest, written.end - written.start)
            assert eventually(lambda: inspector.sessions() == set(expired))
    assert slowest < QUICK, "a writer waited for the sweeper"
    for session_id in expired:
        assert [record.position for record in inspector.messages(session_id)] == [1, 2]
        assert inspector.context(session_id) is None


@contract("ttl-8")
@needs("sweeper", "sessions")
def test_a_dead_sweeper_changes_no_answer(
    sweeping: Sweeping, open_store: OpenStore, inspector: Inspector
) -> None:
    """While no sweeper runs, an expired session takes room, and is absent for every call.

    Look for calls that count on expired sessions being deleted.
    """
    store = open_store(ttl=0.010)
    with sweeping.dead():
        for session_id in ("read", "deleted", "begun anew"):
            store.append_messages(session_id, turn("old"))
            store.save_context(session_id, {"old": True})
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
