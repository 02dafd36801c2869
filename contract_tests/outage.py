"""Breaking the server under load, once for all stores: what was acknowledged, what is left.

Every rule of durability judges the same outage, because each costs a start of the server.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace

from contract_tests.calls import Outcome
from contract_tests.lasting import Lasting
from contract_tests.parts import part_of, sessions_in
from contract_tests.workload import turn
from harness.backends import Backend
from harness.crowd import together
from harness.faces import LoopThread
from harness.histories import History, loss_of
from harness.inspectors import Inspector, RawRecord
from harness.inspectors.through import inspector_of
from harness.opening import Opening
from harness.polling import eventually
from harness.promises import Promise
from stores.errors import Conflict, LeaseLost, OutcomeUnknown, StoreError
from stores.interface import Context, MemoryStore, Message, StoredMessage

SESSIONS = ("first", "second")
"""Sessions of each store, with a writer of its own each: a loss must be a tail of both."""
LOCKED = "locked"
"""A session of each store whose lock is held before the event and after it."""
TURNS = (1, 2, 1, 3)
"""Messages of a writer's turns, over and over."""
LOAD_SECONDS = 0.25
"""How long writers write before the event, and longer than a loss that the row promises to bound:

a load of a quarter of a second cannot lose more than two. Also a few of Postgres's WAL writer
rounds (200 ms).
"""
LEAST = 100
"""Acknowledged messages of each store before the event, however slow the machine is."""
LEAST_SECONDS = 10.0
"""How long to wait for so many."""
TURNS_AT_MOST = 60
"""Of a writer in the load: twice what makes `LEAST`, and a turn every 4 ms. More only cost."""
POWER_CUTS = 2
"""In a cell that promises to lose nothing in them; one of any other event, and elsewhere.

A promise of no loss is believed by its repeats: the four cells of a Redis image that sync each
write have 8 cuts together, and at least 1 600 writes of two stores acknowledged before them. Any
other promise is tried by one event in each of its cells: a loss shows the first time.
"""
TTL_SECONDS = 600.0


@dataclass(repr=False)
class Life:
    """One session, through the event."""

    history: History
    contexts: list[tuple[int, int]] = field(default_factory=list)
    """(messages in the history then, version) of each context that was acknowledged."""
    later: list[str] = field(default_factory=list)
    """Ids of the last messages, where they were acknowledged after the event had begun."""
    later_context: bool = False
    """Whether the last context was: it may count messages that are lost."""
    unknown_context: int | None = None
    """Messages in the history when the outcome of saving the context became unknown."""
    survived: list[RawRecord] = field(default_factory=list)
    context: Context | None = None
    ttl: float | None = None
    seen_ns: int = 0
    """time.monotonic_ns() after the TTL was read."""
    repeated: list[tuple[StoredMessage, StoredMessage]] = field(default_factory=list)
    """Messages that are left, and what appending them again gave."""
    next_position: int = 0
    """Of the first new message."""
    unrefused: list[int] = field(default_factory=list)
    """Versions of lost or replaced contexts with which a save went through."""
    next_version: int = 0

    @property
    def kept(self) -> int:
        """Count the messages that are left of those that were appended before the event."""
        return sum(record.message_id not in self.later for record in self.survived)


@dataclass(repr=False)
class Outage:
    """What one store went through."""

    store: MemoryStore
    """Opened before the event; it must work after it."""
    inspector: Inspector
    locked: str
    """The session of `LOCKED`."""
    token: int
    """Of a lock that was held before the event."""
    lives: dict[str, Life]
    lasting: Lasting
    began_ns: int = 0
    """time.monotonic_ns() before the first write."""
    event_ns: int = 0
    """time.monotonic_ns() just before the server was broken."""
    down_ns: int = 0
    """When it was down for certain."""
    seen_ns: int = 0
    """Before the first TTL was read that is left."""
    first_call: StoreError | None = None
    """What the first of the store's calls after the event that did not work has raised."""
    next_token: int = 0
    old_token_refused: bool = False
    first_calls: Mapping[str, Outcome] = field(default_factory=dict)
    """What the very next calls came to, by way to construct the store, where any were made."""
    older_lost: int = 0
    """Messages that were there after an earlier clean stop, and are gone now."""

    @property
    def acknowledged(self) -> int:
        """Count messages, up to each session's last acknowledged context."""
        return sum(life.contexts[-1][0] for life in self.lives.values() if life.contexts)

    @property
    def load_seconds(self) -> float:
        """How long was written before the event."""
        return (self.event_ns - self.began_ns) / 1e9

    def gone(self) -> int:
        """Count the messages that had survived this outage and are not there any more."""
        return sum(
            len({*life.survived} - {*self.inspector.messages(session_id)})
            for session_id, life in self.lives.items()
        )

    def loss(self) -> tuple[int, int, float]:
        """Return acknowledged and lost messages, and the age of the oldest lost one in seconds."""
        losses = [loss_of(life.history, event=self.event_ns) for life in self.lives.values()]
        seconds = [loss.seconds for loss in losses if loss.seconds is not None]
        return (
            sum(loss.acknowledged for loss in losses),
            sum(len(loss.lost) for loss in losses),
            max(0.0, *seconds, 0.0),
        )


def times(event: str, promise: Promise) -> int:
    """Return how often to let an event happen in a cell, so that its promise means something."""
    return POWER_CUTS if event == "power_cut" and promise.kind == "keeps_all" else 1


def load_seconds(promise: Promise) -> float:
    """Return how long to write before an event, so that it can lose more than is promised."""
    return (promise.seconds or 0.0) + LOAD_SECONDS


def break_under_load(
    stores: dict[str, tuple[MemoryStore, Inspector]],
    event: Callable[[], None],
    start: Callable[[], None],
    seed: int,
    seconds: float = LOAD_SECONDS,
    *,
    least: int = LEAST,
    goes_on: bool = False,
) -> dict[str, Outage]:
    """Write with every store for some seconds, let the event happen, start the server, and look.

    ``goes_on`` says that the event ends with a server that serves, another one perhaps: a call
    that is under way as it begins may be answered by that one, and so say nothing of what was
    acknowledged before.
    """
    part = part_of(stores)
    outages = {
        name: _outage(store, inspector, part, seed) for name, (store, inspector) in stores.items()
    }
    stop, begun = threading.Event(), threading.Event()
    writers = [
        _writer(outage.store, session_id, life, stop, begun, seconds / TURNS_AT_MOST)
        for outage in outages.values()
        for session_id, life in outage.lives.items()
    ]

    def happen() -> None:
        time.sleep(seconds)
        eventually(
            lambda: all(outage.acknowledged >= least for outage in outages.values()), LEAST_SECONDS
        )
        for outage in outages.values():
            outage.lasting.outlive()
        moment = time.monotonic_ns()
        if goes_on:
            begun.set()
        try:
            event()
        finally:
            stop.set()
        for outage in outages.values():
            outage.event_ns, outage.down_ns = moment, time.monotonic_ns()

    began = time.monotonic_ns()
    try:
        together([happen, *writers])
    finally:
        ended = time.monotonic_ns()
        for outage in outages.values():
            outage.lasting.wait()
        start()
    for outage in outages.values():
        outage.began_ns = began
        if goes_on:
            outage.down_ns = ended
        try:
            _look(outage)
        except StoreError as error:
            outage.first_call = outage.first_call or error
    return outages


def _outage(store: MemoryStore, inspector: Inspector, part: int, seed: int) -> Outage:
    *names, locked = sessions_in(inspector, part, (*SESSIONS, LOCKED))
    lives = {
        one: Life(History(seed, failed=(StoreError,), unknown=(OutcomeUnknown,))) for one in names
    }
    with store.lock(locked, lease=10, wait=1) as lease:
        store.append_message(locked, Message("user", "fenced"), fence=lease.token)
    lasting = Lasting(store, inspector, TTL_SECONDS)
    lasting.begin()
    return Outage(store, inspector, locked, lease.token, lives, lasting)


def _writer(
    store: MemoryStore,
    session_id: str,
    life: Life,
    stop: threading.Event,
    begun: threading.Event,
    pace: float,
) -> Callable[[], None]:
    def write() -> None:
        number = last = 0
        while not stop.wait(pace):
            messages = turn(session_id, number, TURNS[number % len(TURNS)])
            ids = [message.id for message in messages]
            stored = []
            with life.history.append(session_id, ids) as call:
                answered = store.append_messages(session_id, messages)
                if begun.is_set():
                    life.later = ids
                    raise OutcomeUnknown("answered by whoever serves after the event")
                stored = answered
                call.acknowledged(message.position for message in stored)
            if not stored:
                return
            number, last = number + 1, stored[-1].position
            try:
                version = store.save_context(session_id, {"messages": last})
            except OutcomeUnknown:
                life.unknown_context = last
                return
            except StoreError:
                return
            if begun.is_set():
                life.unknown_context, life.later_context = last, True
                return
            life.contexts.append((last, version))

    return write


def _look(outage: Outage) -> None:
    """See what is left: by the inspector first, then through the store."""
    outage.seen_ns = time.monotonic_ns()
    for session_id, life in outage.lives.items():
        life.survived = outage.inspector.messages(session_id)
        truth = [
            (record.position, record.message_id)
            for record in life.survived
            if record.message_id not in life.later
        ]
        life.history.final(truth, tail_may_be_lost=True)
        if outage.inspector.present(session_id):
            life.ttl = outage.inspector.ttl(session_id)
            life.seen_ns = time.monotonic_ns()
    try:
        outage.store.ping()
    except StoreError as error:
        outage.first_call = error
        return
    outage.lasting.look()
    for session_id, life in outage.lives.items():
        _go_on(outage.store, session_id, life)
    with outage.store.lock(outage.locked, lease=10, wait=1) as lease:
        outage.next_token = lease.token
        outage.store.append_message(outage.locked, Message("user", "new"), fence=lease.token)
        try:
            outage.store.append_message(outage.locked, Message("user", "old"), fence=outage.token)
        except LeaseLost:
            outage.old_token_refused = True


def _go_on(store: MemoryStore, session_id: str, life: Life) -> None:
    """Use the session as its writers would: repeat, append, save with what they knew."""
    life.context = store.load_context(session_id)
    for stored in store.get_history(session_id, limit=3):
        life.repeated.append((stored, store.append_message(session_id, stored.message)))
    life.next_position = store.append_message(session_id, Message("user", "after")).position
    current = life.context.version if life.context else 0
    known = [version for _, version in life.contexts if version != current]
    for version in known[-3:]:
        try:
            store.save_context(session_id, {"stale": True}, if_version=version)
        except Conflict:
            continue
        life.unrefused.append(version)
    life.next_version = store.save_context(session_id, {"after": True})


def open_all(
    stack: ExitStack, openings: Mapping[str, Opening], software: Backend, loop: LoopThread
) -> dict[str, tuple[MemoryStore, Inspector]]:
    """Open each store and an inspector of its namespace; the stack clears and closes them."""
    opened = {}
    for name, opening in openings.items():
        inspector = stack.enter_context(closing(inspector_of(opening, software, loop)))
        stack.callback(inspector.clear)
        with_ttl = replace(opening, options={**opening.options, "ttl": TTL_SECONDS})
        opened[name] = (stack.enter_context(with_ttl.open(loop)), inspector)
    return opened
