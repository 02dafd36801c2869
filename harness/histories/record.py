"""Recording what concurrent workers did to the history of one session."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, NotRequired, Self, TypedDict

from harness.histories.ledger import Call, Clock, Errors, Ledger
from harness.histories.verdict import Operation, Outcome


class Entry(NamedTuple):
    """One message as somebody saw it."""

    position: int
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Append(Operation):
    """One message, or one batch of them; `positions` is what the store answered."""

    ids: tuple[str, ...]
    positions: tuple[int, ...] = ()

    def __str__(self) -> str:
        where = f" at {', '.join(map(str, self.positions))}" if self.positions else ""
        return f"{self.worker} append {', '.join(self.ids)}: {self.result}{where}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Read(Operation):
    """The whole history, or its newest `limit` messages, oldest first."""

    limit: int | None = None
    sequence: tuple[Entry, ...] = ()

    @property
    def end(self) -> int:
        """The newest position that it saw; 0 if it saw none."""
        return max((entry.position for entry in self.sequence), default=0)

    def __str__(self) -> str:
        newest = "" if self.limit is None else f" newest {self.limit}"
        found = f", {len(self.sequence)} messages up to position {self.end}"
        seen = found if self.outcome is Outcome.ACKNOWLEDGED else ""
        return f"{self.worker} read{newest}: {self.result}{seen}"


class AppendCall(Call[Append]):
    """An append that was invoked."""

    def acknowledged(self, positions: Iterable[int]) -> None:
        """The store answered with these positions, one for each id."""
        now = self._ledger.now()
        operation = self._open()
        found = tuple(positions)
        if len(found) != len(operation.ids):
            raise ValueError(f"{len(operation.ids)} messages were given positions {found}")
        done = Outcome.ACKNOWLEDGED
        self._amend(replace(operation, completed=now, outcome=done, positions=found))


class ReadCall(Call[Read]):
    """A read that was invoked."""

    def acknowledged(self, sequence: Iterable[tuple[int, str]]) -> None:
        """The store answered with these (position, id)."""
        now = self._ledger.now()
        operation = self._open()
        found = tuple(map(Entry._make, sequence))
        done = Outcome.ACKNOWLEDGED
        self._amend(replace(operation, completed=now, outcome=done, sequence=found))


class OperationRecord(TypedDict):
    """An append (with its ids) or a read as JSON."""

    kind: Literal["append", "read"]
    worker: str
    invoked: int
    completed: NotRequired[int | None]
    outcome: str
    error: NotRequired[str]
    ids: NotRequired[list[str]]
    positions: NotRequired[list[int]]
    limit: NotRequired[int | None]
    sequence: NotRequired[list[tuple[int, str]]]


class HistoryRecord(TypedDict):
    """A whole history as JSON."""

    kind: Literal["messages"]
    seed: int
    operations: list[OperationRecord]
    final: list[tuple[int, str]] | None
    tail_may_be_lost: NotRequired[bool]


class History:
    """What workers did to one session that was empty at first, and what is there in the end.

    Thread-safe. Processes record one each, and `include` joins them. `failed` and `unknown` are the
    errors by which a store says that a call was certainly not, or may have been, applied.
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
        self.tail_may_be_lost = False
        self._verdicts = {"failed": failed, "unknown": unknown}
        self._clock = clock
        self._appends: Ledger[Append] = Ledger(clock)
        self._reads: Ledger[Read] = Ledger(clock)
        self._truth: tuple[Entry, ...] | None = None

    def append(self, worker: str, ids: Iterable[str]) -> AppendCall:
        """A worker is about to append one message, or one batch that is to be all or none."""
        batch = (ids,) if isinstance(ids, str) else tuple(ids)
        if not batch:
            raise ValueError("an append of nothing proves nothing")
        operation = Append(worker=worker, invoked=self._clock(), ids=batch)
        return AppendCall(self._appends, operation, **self._verdicts)

    def read(self, worker: str, *, limit: int | None = None) -> ReadCall:
        """A worker is about to read the whole history, or its newest `limit` messages."""
        if limit is not None and limit < 1:
            raise ValueError(f"a read of {limit} messages proves nothing")
        operation = Read(worker=worker, invoked=self._clock(), limit=limit)
        return ReadCall(self._reads, operation, **self._verdicts)

    def final(self, entries: Iterable[tuple[int, str]], *, tail_may_be_lost: bool = False) -> None:
        """The raw truth, read by an inspector when all workers are done. It ends the history.

        `tail_may_be_lost` says that the server was broken after the last operation, and that its
        configuration promises no more than a prefix of what was acknowledged.
        """
        self._appends.close()
        self._reads.close()
        self._truth = tuple(map(Entry._make, entries))
        self.tail_may_be_lost = tail_may_be_lost

    def include(self, other: "History") -> None:
        """Add what another process of this machine recorded about the same session."""
        for append in other.appends:
            self._appends.add(append)
        for read in other.reads:
            self._reads.add(read)

    @property
    def appends(self) -> tuple[Append, ...]:
        """All appends, in order of invocation."""
        return self._appends.operations

    @property
    def reads(self) -> tuple[Read, ...]:
        """All reads, in order of invocation."""
        return self._reads.operations

    @property
    def truth(self) -> tuple[Entry, ...]:
        """The final read. Raises ValueError if there was none: such a history proves nothing."""
        if self._truth is None:
            raise ValueError("this history has no final read to judge it by")
        return self._truth

    def to_dict(self) -> HistoryRecord:
        """Return it as plain JSON types."""
        operations = sorted(
            [*map(_append_record, self.appends), *map(_read_record, self.reads)],
            key=lambda record: record["invoked"],
        )
        return {
            "kind": "messages",
            "seed": self.seed,
            "operations": operations,
            "final": None if self._truth is None else list(self._truth),
            "tail_may_be_lost": self.tail_may_be_lost,
        }

    @classmethod
    def from_dict(cls, record: HistoryRecord) -> Self:
        """Return the history that `to_dict` wrote. Raises ValueError for anything else."""
        try:
            history = cls(record["seed"])
            for operation in record["operations"]:
                if operation["kind"] == "append":
                    history._appends.add(_append(operation))
                elif operation["kind"] == "read":
                    history._reads.add(_read(operation))
                else:
                    raise ValueError(f"not an operation of a history: {operation['kind']!r}")
            if record["final"] is not None:
                lossy = record.get("tail_may_be_lost", False)
                history.final(record["final"], tail_may_be_lost=lossy)
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a recorded history: {error!r}") from error
        return history


def _append_record(append: Append) -> OperationRecord:
    return {
        "kind": "append",
        "worker": append.worker,
        "invoked": append.invoked,
        "completed": append.completed,
        "outcome": append.outcome.value,
        "error": append.error,
        "ids": list(append.ids),
        "positions": list(append.positions),
    }


def _read_record(read: Read) -> OperationRecord:
    return {
        "kind": "read",
        "worker": read.worker,
        "invoked": read.invoked,
        "completed": read.completed,
        "outcome": read.outcome.value,
        "error": read.error,
        "limit": read.limit,
        "sequence": list(read.sequence),
    }


def _append(record: OperationRecord) -> Append:
    return Append(
        worker=record["worker"],
        invoked=record["invoked"],
        completed=record.get("completed"),
        outcome=Outcome(record["outcome"]),
        error=record.get("error", ""),
        ids=tuple(record["ids"]),
        positions=tuple(record.get("positions", ())),
    )


def _read(record: OperationRecord) -> Read:
    return Read(
        worker=record["worker"],
        invoked=record["invoked"],
        completed=record.get("completed"),
        outcome=Outcome(record["outcome"]),
        error=record.get("error", ""),
        limit=record.get("limit"),
        sequence=tuple(map(Entry._make, record.get("sequence", ()))),
    )
