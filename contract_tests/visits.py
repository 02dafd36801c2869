"""Calls made while a server is in a state: whether what they said is true of what is stored."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Any

from contract_tests.calls import EVERY_CALL, LONGEST_OUTAGE, READS, Outcome, answer, attempt
from contract_tests.workload import turn
from harness.crowd import together
from harness.inspectors import Inspector
from stores.errors import OutcomeUnknown, StoreError, StoreUnavailable
from stores.interface import MemoryStore

CHANGES = frozenset(
    {"append_message", "append_messages", "save_context", "delete_session", "set_ttl"}
)
"""Calls whose effect shows in `raw`. (The others change nothing, or nothing that stays.)"""
QUIET = "a quiet session"
"""Nobody calls for it: it is lost only by the server itself."""
LEASE = 5.0
BEFORE = turn("before", 1, 2)

Errors = tuple[type[StoreError], ...]
Raw = tuple[object, ...]


def raw(inspector: Inspector, session_id: str) -> Raw:
    """Return what is stored of a session: its message ids, its context, and whether it ends."""
    if not inspector.present(session_id):
        return ()
    ids = tuple(record.message_id for record in inspector.messages(session_id))
    return ids, inspector.context(session_id), inspector.ttl(session_id) is not None


@dataclass
class Visit:
    """What one store met in one state."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    """Of each call, in the state."""
    wrong: dict[str, str] = field(default_factory=dict)
    """By call: what was wrong with what it said, or with what it did."""
    kept: bool = True
    """Whether what nobody called for is still there."""
    next_call: Outcome | None = None
    """Of a write and a read once the state was over."""
    next_lock: Outcome | None = None
    """Of taking the lock that a call took in the state, or was refused."""
    tokens: list[int] = field(default_factory=list)
    """Of that lock, before the state and after it."""


@dataclass
class Visitor:
    """A store whose calls are made in states of the server: changes each on their own session."""

    store: MemoryStore
    timeout: float
    """Of the store."""
    patient: MemoryStore
    """Of the same sessions, with more time, for what is done before."""
    inspector: Inspector
    calls: Sequence[str]
    refusals: Errors
    visits: dict[str, Visit] = field(default_factory=dict)
    """By state."""
    _known: dict[str, Any] = field(default_factory=dict)
    """What each read must answer."""
    _before: Raw = ()
    """Of each session that a call changes."""
    _tokens: list[int] = field(default_factory=list)

    def prepare(self, states: Sequence[str]) -> None:
        """Store what the calls are about."""
        for name in (*self.calls, QUIET):
            for session_id in {self._session(name, state) for state in states}:
                self.patient.append_messages(session_id, BEFORE)
        for name in READS.intersection(self.calls):
            self.patient.save_context(name, {"of": name})
            self._known[name] = EVERY_CALL[name].make(self.patient, name)
        self._before = raw(self.inspector, QUIET)
        self._hold(self.patient)
        answer(self.store.ping)

    def jobs(self, state: str) -> Iterator[tuple[str, Callable[[], Outcome]]]:
        """Yield the calls to make in a state, with their names."""
        for name in self.calls:
            make = EVERY_CALL[name].make
            yield name, partial(attempt, make, self.store, self._session(name, state))

    def leave(self, states: Sequence[str], *, may_lose: Collection[str] = ()) -> None:
        """See, once the server serves again, whether all is as the calls have said.

        ``may_lose`` are states in which the server may have ended, and lost what it had answered.
        """
        next_call = at_last(self._write_and_read, f"after {states[-1]}")
        # What the server itself has lost meanwhile says nothing of any call.
        kept = self.inspector.present(QUIET)
        token = self._tokens[-1:]
        next_lock = at_last(self._hold, self.store)
        if next_lock.error is None:
            next_lock = attempt(self._hold, self.patient)
        for state in states:
            visit = self.visits[state]
            faults = {name: self._said(name, one) for name, one in visit.outcomes.items()}
            for name in CHANGES.intersection(visit.outcomes) if kept else ():
                if state not in may_lose or visit.outcomes[name].error is not None:
                    faults[name] = faults[name] or self._did(name, state, visit.outcomes[name])
            visit.wrong = {name: fault for name, fault in faults.items() if fault is not None}
            visit.kept, visit.next_call, visit.next_lock = kept, next_call, next_lock
            visit.tokens = [*token, *self._tokens[-1:]]

    def _session(self, name: str, state: str) -> str:
        return f"{name} in {state}" if name in CHANGES else name

    def _hold(self, store: MemoryStore) -> None:
        with store.lock("lock", lease=LEASE, wait=0) as lease:
            self._tokens.append(lease.token)

    def _write_and_read(self, session_id: str) -> None:
        sent = turn("later", 1, 2)
        self.store.append_messages(session_id, sent)
        assert [one.id for one in self.store.get_history(session_id)] == [one.id for one in sent]

    def _said(self, name: str, outcome: Outcome) -> str | None:
        if outcome.error is not None:
            late = outcome.seconds >= self.timeout  # the machine was busy
            if outcome.unknown and name in READS:
                return f"raised {outcome.error!r}, though it changes nothing"
            return None if late and outcome.unknown else outcome.fault(self.refusals)
        if name == "iter_sessions":
            right = READS.intersection(self.calls) <= {*outcome.result}
        else:
            right = name not in self._known or outcome.result == self._known[name]
        return None if right else f"answered {outcome.result!r}, not {self._known[name]!r}"

    def _did(self, name: str, state: str, outcome: Outcome) -> str | None:
        session_id = self._session(name, state)
        changed = raw(self.inspector, session_id) != self._before
        if changed == (outcome.error is None) or outcome.unknown:
            return None
        said = f"raised {outcome.error!r}" if outcome.error else f"answered {outcome.result!r}"
        return f"{said}, and {'happened' if changed else 'nothing happened'}"


def at_last(call: Callable[..., object], *arguments: object) -> Outcome:
    """Make a call that may be repeated, until it is answered or refused for another reason."""
    give_up = monotonic() + LONGEST_OUTAGE
    while True:
        outcome = attempt(call, *arguments)
        again = isinstance(outcome.error, StoreUnavailable | OutcomeUnknown)
        if not again or monotonic() > give_up:
            return outcome


def visit(visitors: Sequence[Visitor], state: str) -> None:
    """Make all calls of all visitors at once."""
    jobs = [
        (visitor.visits.setdefault(state, Visit()), name, job)
        for visitor in visitors
        for name, job in visitor.jobs(state)
    ]
    outcomes = together([job for *_, job in jobs])
    for (met, name, _), outcome in zip(jobs, outcomes, strict=True):
        met.outcomes[name] = outcome
