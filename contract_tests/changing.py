"""Bringing a row's data to another row: what was written before, and what is there after.

The servers are private ones: a cell's own goes on meanwhile.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from contract_tests.workload import turn
from harness.attestation import attest
from harness.backends import Backend
from harness.changes import Change
from harness.faces import LoopThread
from harness.inspectors import Inspector, RawRecord
from harness.inspectors.through import inspector_of
from harness.matrix import Cell
from harness.opening import Opening
from harness.servers import Copyable, ExitedError, NotRunError, ProgramError
from stores.errors import StoreError
from stores.interface import Context, Message, StoredMessage

TALK, FLEETING = "a talk", "a fleeting talk"
"""A session without TTL, and one with."""
TTL_SECONDS = 600.0
AFTER = Message("user", "after")
BEFORE_WORDS = re.compile(r"^[^#\]]*[#\]] +")
"""Process, date and time at the start of a line of a log, up to Redis's # or Postgres's [1]."""

Raw = Mapping[str, tuple[tuple[RawRecord, ...], bytes | None]]
"""The messages and the context of each session, as the server holds them."""
OpeningsAt = Callable[[str, Cell], dict[str, Opening]]
"""Give openings of all stores at a URL, with the options of a cell's row."""


@dataclass(frozen=True, slots=True)
class Before:
    """What one store wrote before the change."""

    history: list[StoredMessage]
    context: Context
    token: int
    raw: Raw


@dataclass(slots=True)
class After:
    """What one store found after it."""

    raw: Raw
    history: list[StoredMessage]
    context: Context | None
    sessions: set[str]
    ttl: float | None
    repeated: StoredMessage
    """What appending the first message of before again gave."""
    position: int
    """Of a new message."""
    version: int
    """Of a new context."""
    token: int
    raw_after_kill: Raw = field(default_factory=dict)


@dataclass(slots=True)
class Changed:
    """What became of all stores' data: the server's own words if it refused it."""

    refusal: str | None = None
    after: dict[str, After] = field(default_factory=dict)
    errors: dict[str, StoreError] = field(default_factory=dict)
    """What stores raised where they should have answered."""
    killed: bool = False
    """Whether the server was killed, and started again, once the stores had looked."""

    def fate(self, store: str, before: Before) -> str:
        """Return one of `harness.changes.FATES`, or ``damaged``."""
        if self.refusal is not None:
            return "refused"
        if store in self.errors:
            return "damaged"
        after = self.after[store]
        if not any(messages or context for messages, context in after.raw.values()):
            return "lost"
        if after.raw != before.raw:
            return "damaged"
        if self.killed and not _within(before.raw, after.raw_after_kill):
            return "kept_for_now"
        return "kept"


@dataclass(frozen=True, slots=True)
class Moves:
    """All changes that begin in a cell: before, what each store wrote; after, by change."""

    before: dict[str, Before]
    after: dict[Change, Changed | NotRunError]


def move(
    origin: Copyable,
    changes: Mapping[Change, Cell],
    fresh: Callable[[Cell], Copyable],
    openings: OpeningsAt,
    software: Backend,
    loop: LoopThread,
    cell: Cell,
) -> Moves:
    """Write on a server, stop it, and start each change's target with a copy of its data."""
    dump = b""
    with _removed(origin):
        origin.start()
        opened = openings(origin.url, cell)
        before = {name: _write(opening, software, loop) for name, opening in opened.items()}
        if any(change.way != "restart" for change in changes):
            dump = origin.run(*software.dump())
        origin.stop()

        def one(change: Change, target: Cell) -> Changed | NotRunError:
            try:
                if change.way == "restart":
                    return _started(origin.copy(target), None, target)
                return _started(fresh(target), dump, target)
            except NotRunError as error:
                return error

        def _started(server: Copyable, dump: bytes | None, target: Cell) -> Changed:
            with _removed(server):
                try:
                    server.start()
                    attest(target, software, server)
                    if dump is not None:
                        server.run(*software.restore(server.put("dump.sql", dump)))
                except (ExitedError, ProgramError) as error:
                    return Changed(refusal=_words(error))
                kill = target.promises["kill"]
                # A copy is old; what was restored just now may be a tail that may be lost.
                safe = kill.broken_by(int(dump is not None), 0.0, older_lost=int(dump is None))
                return _looked(server, openings(server.url, target), software, loop, kill=safe)

        with ThreadPoolExecutor(max(1, len(changes))) as pool:
            jobs: dict[Change, Future[Changed | NotRunError]] = {
                change: pool.submit(one, change, target) for change, target in changes.items()
            }
        return Moves(before, {change: job.result() for change, job in jobs.items()})


def _write(opening: Opening, software: Backend, loop: LoopThread) -> Before:
    with opening.open(loop) as store:
        for number, size in enumerate((1, 3, 2)):
            store.append_messages(TALK, turn("before", number, size))
        store.save_context(TALK, {"turns": 3})
        store.append_message(FLEETING, Message("user", "hi", id="hi"))
        store.set_ttl(FLEETING, TTL_SECONDS)
        with store.lock(TALK, lease=10, wait=1) as lease:
            token = lease.token
        context = store.load_context(TALK)
        assert context is not None
        history = store.get_history(TALK)
    return Before(history, context, token, _raw(software, opening, loop))


def _looked(
    server: Copyable,
    openings: dict[str, Opening],
    software: Backend,
    loop: LoopThread,
    *,
    kill: bool,
) -> Changed:
    """Look with every store; where the row must keep it all, kill the server and look again."""
    changed = Changed()
    for name, opening in openings.items():
        try:
            changed.after[name] = _read(opening, software, loop)
        except StoreError as error:
            changed.errors[name] = error
    found = any(after.history for after in changed.after.values())
    if found and kill:
        changed.killed = True
        server.kill()
        server.start()
        for name, after in changed.after.items():
            after.raw_after_kill = _raw(software, openings[name], loop)
    return changed


def _read(opening: Opening, software: Backend, loop: LoopThread) -> After:
    raw = _raw(software, opening, loop)
    first = turn("before", 0, 1)[0]
    with opening.open(loop) as store:
        history, context = store.get_history(TALK), store.load_context(TALK)
        sessions = set(store.iter_sessions())
        try:
            ttl = store.get_ttl(FLEETING)
        except StoreError:
            ttl = None
        sent = history[0].message if history else first
        repeated = store.append_message(TALK, sent)
        position = store.append_message(TALK, AFTER).position
        version = store.save_context(TALK, {"turns": 4})
        with store.lock(TALK, lease=10, wait=1) as lease:
            token = lease.token
    seconds = None if ttl is None else ttl.total_seconds()
    return After(raw, history, context, sessions, seconds, repeated, position, version, token)


def _raw(software: Backend, opening: Opening, loop: LoopThread) -> Raw:
    inspector: Inspector = inspector_of(opening, software, loop)
    try:
        return {
            one: (tuple(inspector.messages(one)), inspector.context(one))
            for one in (TALK, FLEETING)
        }
    finally:
        inspector.close()


def _within(before: Raw, after: Raw) -> bool:
    """Tell whether all messages of before are there after; more may be."""
    return all(set(messages) <= set(after[one][0]) for one, (messages, _) in before.items())


def _words(error: ExitedError | ProgramError) -> str:
    """Return what a server or a program said last of why it gave up, on one line."""
    if isinstance(error, ProgramError):
        return str(error).replace("\n", " ")
    lines = [line.strip() for line in error.log.strip().splitlines() if line.strip()]
    return " ".join(BEFORE_WORDS.sub("", line) for line in lines[-2:])


@contextmanager
def _removed(server: Copyable) -> Iterator[None]:
    try:
        yield
    finally:
        server.remove()
