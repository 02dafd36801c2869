"""top-2: sessions that move from one server to another while they are used."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import partial

import pytest

from contract_tests.calls import LATE, Call, Outcome, attempt, calls_of
from contract_tests.fix_cell import SEED
from contract_tests.fix_histories import Judge
from contract_tests.fix_stores import BY_URL, Openings, OpenStore
from contract_tests.parts import Stores, key_of, part_of, sessions_in
from contract_tests.workload import TURNS, turn
from harness.backends import Backend
from harness.contracts import contract, needs
from harness.crowd import together
from harness.faces import LoopThread
from harness.histories import History
from harness.inspectors import Inspector
from harness.inspectors.through import inspector_of
from harness.matrix import Store
from harness.polling import eventually
from harness.servers import Server
from harness.servers.topology import Topology
from stores.errors import OutcomeUnknown, StoreError, StoreUnavailable
from stores.interface import MemoryStore, Message

pytestmark = needs("raw_records", "resharding", "history", "context", "lock")

MOMENTS = ("before", "during", "after")
WRITES = 10
"""Turns of each writer before, during and after the move, at least."""
TIMEOUT = 4.0
IMPATIENCE = 0.5
"""Seconds: the timeout of a store that may have to wait for the end of the move."""
BRACES = ("{", "}", "{}", "}{", "{a}b", "a}b{c", "{{a}}", "a b:{*}%")


@dataclass
class Moved:
    """What one store went through, as one way constructed it."""

    store: MemoryStore
    inspector: Inspector
    calls: dict[str, Call]
    sessions: dict[str, str]
    """Of each call, and of a writer that wrote all the time, by name."""
    impatient: MemoryStore
    unlocked: dict[str, str]
    """Sessions of which nothing was there before their moment."""
    history: History
    turns: int = 0
    """Acknowledged ones of the writer."""
    stopped: Outcome | None = None
    """What ended the writer before its time."""
    outcomes: dict[tuple[str, str], Outcome] = field(default_factory=dict)
    """By moment and call."""
    locks: dict[str, Outcome] = field(default_factory=dict)
    """Of the new sessions, by moment."""


@pytest.fixture(scope="session")
def moves(
    pytestconfig: pytest.Config,
    openings: Openings,
    store_rows: list[Store],
    software: Backend,
    server: Server,
    loop: LoopThread,
) -> Iterator[dict[str, dict[str, Moved]]]:
    """Move sessions of all stores, each constructed in every way, once; use them all the time."""
    assert isinstance(server, Topology)
    opened = openings("moved", timeout=TIMEOUT)
    with ExitStack() as ending:
        stores: dict[tuple[str, str], tuple[MemoryStore, Inspector]] = {}
        for row in store_rows:
            one = opened[row.name]
            inspector = inspector_of(one, software, loop)
            ending.enter_context(closing(inspector))
            ending.callback(inspector.clear)
            for way, factory in {BY_URL: row.factory, **row.ways}.items():
                store = ending.enter_context(replace(one, factory=factory).open(loop))
                stores[row.name, way] = (store, inspector)
        places: Stores = {" by ".join(job): pair for job, pair in stores.items()}
        found: dict[str, dict[str, Moved]] = {row.name: {} for row in store_rows}
        for row in store_rows:
            for way in (BY_URL, *row.ways):
                store, inspector = stores[row.name, way]
                hasty = replace(opened[row.name], options={"timeout": IMPATIENCE})
                impatient = ending.enter_context(hasty.open(loop))
                calls = calls_of(row)
                names = [f"{one} by {way}" for one in (*MOMENTS, "writer", *calls)]
                ids = sessions_in(inspector, part_of(places), names)
                found[row.name][way] = Moved(
                    store,
                    inspector,
                    calls,
                    sessions=dict(zip(["writer", *calls], ids[3:], strict=True)),
                    impatient=impatient,
                    unlocked=dict(zip(MOMENTS, ids[:3], strict=True)),
                    history=History(
                        pytestconfig.stash[SEED], failed=(StoreError,), unknown=(OutcomeUnknown,)
                    ),
                )
        everybody = [moved for ways in found.values() for moved in ways.values()]
        _move(server, key_of(places), everybody)
        for moved in everybody:
            raw = moved.inspector.messages(moved.sessions["writer"])
            moved.history.final((record.position, record.message_id) for record in raw)
        yield found


def _move(group: Topology, key: bytes, everybody: list[Moved]) -> None:
    stop = threading.Event()

    def call_all(moment: str) -> None:
        enough = {id(moved): moved.turns + WRITES for moved in everybody}
        together([partial(_call_all, moved, moment) for moved in everybody])
        eventually(
            lambda: all(moved.stopped or moved.turns >= enough[id(moved)] for moved in everybody),
            within=10,
        )

    def move() -> None:
        try:
            together([partial(_prepare, moved) for moved in everybody])
            call_all("before")
            with group.move_slot(key):
                call_all("during")
            call_all("after")
        finally:
            stop.set()

    writers: list[Callable[[], None]] = [partial(_write, moved, stop) for moved in everybody]
    together([move, *writers])


def _prepare(moved: Moved) -> None:
    """Let there be a session and a lock that is free, for each call."""
    for session_id in (moved.sessions[name] for name in moved.calls):
        outcome = attempt(_hold, moved.store, session_id)
        if outcome.error:
            moved.outcomes["before", "append_message, fenced"] = outcome
            return


def _call_all(moved: Moved, moment: str) -> None:
    for name, call in moved.calls.items():
        outcome = attempt(call.make, moved.store, moved.sessions[name])
        moved.outcomes[moment, name] = outcome
        if outcome.error:
            return  # what is wrong takes its timeout, each time
    moved.locks[moment] = attempt(_hold, moved.impatient, moved.unlocked[moment])


def _hold(store: MemoryStore, session_id: str) -> int:
    with store.lock(session_id, lease=5, wait=0) as lease:
        store.append_message(session_id, Message("user", "fenced"), fence=lease.token)
        return lease.token


def _write(moved: Moved, stop: threading.Event) -> None:
    session_id = moved.sessions["writer"]
    while not stop.is_set():
        messages = turn("writer", moved.turns, TURNS[moved.turns % len(TURNS)])
        with moved.history.append("writer", [message.id for message in messages]) as call:
            written = attempt(moved.store.append_messages, session_id, messages)
            if written.error:
                moved.stopped = written
                raise written.error
            call.acknowledged(message.position for message in written.result)
        if moved.stopped:
            return
        with moved.history.read("writer", limit=5) as look:
            seen = attempt(moved.store.get_history, session_id, 5)
            if seen.error:
                moved.stopped = seen
                raise seen.error
            look.acknowledged((message.position, message.id) for message in seen.result)
        moved.turns += 1


@contract("top-2")
def test_writes_go_on_while_sessions_move(
    moves: dict[str, dict[str, Moved]], store_row: Store, judge: Judge
) -> None:
    """What is written while a session moves is there once, in order, and is read at once.

    Look for redirections that are followed by writing again what may have been written, and for
    reads from the place that a session has left.
    """
    for way, moved in moves[store_row.name].items():
        judge(moved.history)
        assert moved.stopped is None, f"by {way}, after {moved.turns} turns: {moved.stopped}"
        assert moved.turns > len(MOMENTS) * WRITES, f"by {way}: writing does not get on"


@contract("top-2")
@pytest.mark.parametrize("moment", MOMENTS)
def test_every_call_works_while_its_session_moves(
    moves: dict[str, dict[str, Moved]], store_row: Store, moment: str
) -> None:
    """Every call works on a session before it moves, while it does, and once it has moved.

    Look for redirections (MOVED, ASK, TRYAGAIN) that are not followed, for ASK taken for good,
    and for calls that touch several places.
    """
    for way, moved in moves[store_row.name].items():
        for (when, name), outcome in moved.outcomes.items():
            assert when != moment or outcome.error is None, f"{name} by {way}: {outcome}"


@contract("top-2")
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_new_lock_is_whole_or_refused_while_its_session_moves(
    moves: dict[str, dict[str, Moved]], store_row: Store, moment: str
) -> None:
    """A lock on a session of which nothing is there is taken, or refused in time, while it moves.

    Refused as certainly not applied, and only then. Redis refuses calls with several keys while
    not all are at one place (TRYAGAIN).
    """
    for way, moved in moves[store_row.name].items():
        if moment not in moved.locks:
            continue  # an earlier call failed
        outcome = moved.locks[moment]
        refused = outcome.error and moment == "during"
        fault = outcome.fault(StoreUnavailable) if refused else outcome.error
        assert not fault, f"by {way}: {outcome}"
        assert outcome.seconds < IMPATIENCE + LATE or not refused, f"by {way}: {outcome}"


@contract("top-2")
@contract("iso-5")
@pytest.mark.parametrize("moment", MOMENTS)
def test_each_session_is_listed_once_while_some_move(
    moves: dict[str, dict[str, Moved]], store_row: Store, moment: str
) -> None:
    """While sessions move, each is listed once.

    Look for servers that are listed one after the other: a session can go from one that is not
    yet listed to one that was.
    """
    for way, moved in moves[store_row.name].items():
        outcome = moved.outcomes.get((moment, "iter_sessions"))
        if outcome is None:
            continue  # an earlier call failed
        assert outcome.error is None, f"by {way}: {outcome}"
        listed = outcome.result
        assert len(listed) == len(set(listed)), f"by {way}: twice"
        kept = {moved.sessions[name] for name in ("writer", "append_message", "save_context")}
        assert kept <= set(listed), f"by {way}: not listed"


@contract("top-2")
def test_every_call_touches_one_place_whatever_the_id(
    open_store: OpenStore, ways: list[str], store_row: Store
) -> None:
    """No call touches several places, whatever the braces in the session's id.

    Look for keys of one operation whose braces enclose different texts.
    """
    for way in ways:
        store = open_store(way=way)
        for session_id in (f"{braces} by {way}" for braces in BRACES):
            store.append_message(session_id, Message("user", session_id))
            with store.lock(session_id, lease=5, wait=1) as lease:
                fenced = Message("user", "fenced")
                store.append_message(session_id, fenced, fence=lease.token)
                store.save_context(session_id, {"n": 1}, fence=lease.token)
            for name, call in calls_of(store_row).items():
                if name in {"set_ttl", "get_ttl"}:
                    store.append_message(session_id, Message("user", name))
                outcome = attempt(call.make, store, session_id)
                assert outcome.error is None, f"{name} of {session_id!r}: {outcome}"
