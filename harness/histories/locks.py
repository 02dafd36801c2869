"""Histories of one lock, and what must be true of them."""

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Literal, NotRequired, Self, TypedDict

from harness.histories.ledger import Call, Clock, Errors, Ledger
from harness.histories.verdict import Operation, Outcome, Violation

# A server counts leases in milliseconds of a clock it reads once a loop; its holder counts its own.
LEASE_SLACK = 5_000_000  # nanoseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold(Operation):
    """One attempt to hold the lock.

    `completed` is when it was granted or refused. `confirmed` is when the last call began by which
    the server granted or renewed the lease, `releasing` when the holder began to let go.
    """

    lease: float | None  # seconds
    token: int = 0
    confirmed: int = 0
    releasing: int | None = None
    released: bool = False

    @property
    def certain_until(self) -> float:
        """Until when nobody else can have held it."""
        if self.released and self.releasing is not None:
            return self.releasing
        if self.lease is None:
            return self.finished
        end = self.confirmed + int(self.lease * 1e9) - LEASE_SLACK
        return end if self.releasing is None else min(end, self.releasing)

    def __str__(self) -> str:
        token = f" with token {self.token}" if self.outcome is Outcome.ACKNOWLEDGED else ""
        return f"{self.worker} lock: {self.result}{token}"


class HoldCall(Call[Hold]):
    """An attempt to hold the lock that was invoked, and then its holding."""

    def acknowledged(self, token: int) -> None:
        """The lock was granted, with this fencing token."""
        now = self._ledger.now()
        hold = self._open()
        done = Outcome.ACKNOWLEDGED
        granted = replace(hold, completed=now, outcome=done, token=token, confirmed=hold.invoked)
        self._amend(granted)

    def renewing(self) -> int:
        """The holder is about to renew its lease; pass the answer to `renewed`."""
        return self._ledger.now()

    def renewed(self, since: int) -> None:
        """The server renewed the lease, by a call that began at `since`."""
        self._amend(replace(self.operation, confirmed=since))

    def releasing(self) -> None:
        """The holder is about to let go."""
        self._amend(replace(self.operation, releasing=self._ledger.now()))

    def released(self) -> None:
        """The server agreed that it was held until it was let go."""
        if self.operation.releasing is None:
            raise RuntimeError(f"released without releasing: {self.operation}")
        self._amend(replace(self.operation, released=True))


class HoldRecord(TypedDict):
    """One hold as JSON."""

    worker: str
    invoked: int
    completed: int | None
    outcome: str
    error: NotRequired[str]
    lease: NotRequired[float | None]
    token: NotRequired[int]
    confirmed: NotRequired[int]
    releasing: NotRequired[int | None]
    released: NotRequired[bool]


class LockRecord(TypedDict):
    """A whole lock history as JSON."""

    kind: Literal["lock"]
    seed: int
    holds: list[HoldRecord]


class LockHistory:
    """Who held one lock, and when for certain. Thread-safe; `include` joins those of processes.

    `failed` and `unknown` are the errors by which a store says that a lock was not, or may have
    been, taken.
    """

    def __init__(
        self,
        seed: int,
        *,
        failed: Errors = (),
        unknown: Errors = (),
        clock: Clock = time.monotonic_ns,
    ) -> None:
        self.seed = seed
        self._verdicts = {"failed": failed, "unknown": unknown}
        self._clock = clock
        self._ledger: Ledger[Hold] = Ledger(clock)

    def acquire(self, worker: str, *, lease: float | None = None) -> HoldCall:
        """A worker is about to ask for the lock, for `lease` seconds if it says so."""
        hold = Hold(worker=worker, invoked=self._clock(), lease=lease)
        return HoldCall(self._ledger, hold, **self._verdicts)

    def include(self, other: "LockHistory") -> None:
        """Add what another process of this machine recorded about the same lock."""
        for hold in other.holds:
            self._ledger.add(hold)

    @property
    def holds(self) -> tuple[Hold, ...]:
        """All attempts, in order of invocation."""
        return self._ledger.operations

    def to_dict(self) -> LockRecord:
        """Return it as plain JSON types."""
        holds: list[HoldRecord] = [
            {
                "worker": hold.worker,
                "invoked": hold.invoked,
                "completed": hold.completed,
                "outcome": hold.outcome.value,
                "error": hold.error,
                "lease": hold.lease,
                "token": hold.token,
                "confirmed": hold.confirmed,
                "releasing": hold.releasing,
                "released": hold.released,
            }
            for hold in self.holds
        ]
        return {"kind": "lock", "seed": self.seed, "holds": holds}

    @classmethod
    def from_dict(cls, record: LockRecord) -> Self:
        """Return the history that `to_dict` wrote. Raises ValueError for anything else."""
        try:
            history = cls(record["seed"])
            for hold in record["holds"]:
                history._ledger.add(_hold(hold))
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a recorded lock history: {error!r}") from error
        return history


LockCheck = Callable[[tuple[Hold, ...]], Iterator[Violation]]


def overlapping(granted: tuple[Hold, ...]) -> Iterator[Violation]:
    """No two hold it at one time."""
    holder: Hold | None = None
    for hold in sorted(_certain(granted), key=lambda hold: hold.finished):
        if holder and hold.finished < holder.certain_until:
            sentence = f"{hold.worker} was given the lock while {holder.worker} held it"
            yield Violation("overlapping", sentence, (holder, hold))
        if holder is None or hold.certain_until > holder.certain_until:
            holder = hold


def repeated_token(granted: tuple[Hold, ...]) -> Iterator[Violation]:
    """No two were ever given the same token."""
    owners: dict[int, Hold] = {}
    for hold in granted:
        owner = owners.setdefault(hold.token, hold)
        if owner is not hold:
            sentence = f"{owner.worker} and {hold.worker} were both given token {hold.token}"
            yield Violation("repeated_token", sentence, (owner, hold))


def shrinking_token(granted: tuple[Hold, ...]) -> Iterator[Violation]:
    """Who asks after another was granted gets a greater token."""
    by_grant = sorted(granted, key=lambda hold: hold.finished)
    times = [hold.finished for hold in by_grant]
    greatest = list(accumulate(by_grant, _greater))
    for hold in granted:
        before = bisect_left(times, hold.invoked)
        if before and (earlier := greatest[before - 1]).token > hold.token:
            sentence = (
                f"{hold.worker} asked after {earlier.worker} had token {earlier.token},"
                f" and was given {hold.token}"
            )
            yield Violation("shrinking_token", sentence, (earlier, hold))


def unordered_token(granted: tuple[Hold, ...]) -> Iterator[Violation]:
    """Who holds it after another has a greater token, also if both waited for it together.

    It follows from one holder at a time: leave it out where a failover may forget a lock.
    """
    by_grant = sorted(_certain(granted), key=lambda hold: hold.finished)
    greatest: Hold | None = None
    for hold in by_grant:
        if greatest and hold.token < greatest.token:
            sentence = (
                f"{hold.worker} held it with token {hold.token}"
                f" after {greatest.worker} with {greatest.token}"
            )
            yield Violation("unordered_token", sentence, (greatest, hold))
        greatest = hold if greatest is None else _greater(greatest, hold)


LOCK_CHECKS: tuple[LockCheck, ...] = (
    overlapping,
    repeated_token,
    shrinking_token,
    unordered_token,
)


def check_locks(history: LockHistory, checks: Iterable[LockCheck] = LOCK_CHECKS) -> list[Violation]:
    """Return every broken rule, in the order of the checks; an empty list if nothing is broken."""
    granted = tuple(hold for hold in history.holds if hold.outcome is Outcome.ACKNOWLEDGED)
    return [violation for look in checks for violation in look(granted)]


def _certain(granted: tuple[Hold, ...]) -> list[Hold]:
    return [hold for hold in granted if hold.certain_until > hold.finished]


def _greater(one: Hold, other: Hold) -> Hold:
    return other if other.token > one.token else one


def _hold(record: HoldRecord) -> Hold:
    return Hold(
        worker=record["worker"],
        invoked=record["invoked"],
        completed=record.get("completed"),
        outcome=Outcome(record["outcome"]),
        error=record.get("error", ""),
        lease=record.get("lease"),
        token=record.get("token", 0),
        confirmed=record.get("confirmed", record["invoked"]),
        releasing=record.get("releasing"),
        released=record.get("released", False),
    )
