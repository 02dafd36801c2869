"""A recorded history, indexed once for all checks."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from harness.histories.record import Append, Entry, History, Read
from harness.histories.verdict import Operation, Outcome


@dataclass(frozen=True, eq=False)
class Sighting:
    """A sequence that somebody saw: the final one, the answer to a read or to an append."""

    name: str
    entries: tuple[Entry, ...]
    operations: tuple[Operation, ...] = ()
    limit: int | None = None

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Its message ids, in its order."""
        return tuple(message for _, message in self.entries)

    @cached_property
    def distinct(self) -> bool:
        """No id is there twice."""
        return len(set(self.ids)) == len(self.ids)

    def first_entries(self) -> tuple[Entry, ...]:
        """Its entries without those that repeat an id."""
        if self.distinct:
            return self.entries
        first: dict[str, Entry] = {}
        for entry in self.entries:
            first.setdefault(entry.id, entry)
        return tuple(first.values())

    def begins(self, other: "Sighting") -> bool:
        """It is a prefix of the other, positions and all."""
        return self.entries == other.entries[: len(self.entries)]

    def cuts(self, batch: tuple[str, ...]) -> bool:
        """It begins in the middle of a batch, because it was limited to the newest few."""
        if self.limit is None or len(self.entries) < self.limit:
            return False
        rest = len(set(batch) & set(self.ids))
        return self.ids[:rest] == batch[-rest:]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the checks look at."""

    tail_may_be_lost: bool
    final: Sighting
    sightings: tuple[Sighting, ...]  # the final one first, then the answered reads
    reads: tuple[Read, ...]  # those that were answered
    acknowledgements: tuple[Append, ...]
    acknowledged: Mapping[str, Append]  # by id: the first acknowledgement
    senders: Mapping[str, Append]  # by id: the first append that may have been applied
    failures: Mapping[str, Append]  # by id: an append that certainly was not
    batches: tuple[Append, ...]  # of two or more ids that were sent together only
    positions: Mapping[str, int]  # by id, in the final history
    last: int  # the last position of the final history

    @classmethod
    def of(cls, history: History) -> Self:
        """Index a history. Raises ValueError if it has no final read."""
        final = Sighting("the final history", history.truth)
        reads = tuple(read for read in history.reads if read.outcome is Outcome.ACKNOWLEDGED)
        answers = (Sighting(f"a read by {r.worker}", r.sequence, (r,), r.limit) for r in reads)
        acknowledgements = tuple(
            append for append in history.appends if append.outcome is Outcome.ACKNOWLEDGED
        )
        acknowledged: dict[str, Append] = {}
        for append in sorted(acknowledgements, key=lambda append: append.finished):
            for message in append.ids:
                acknowledged.setdefault(message, append)
        senders: dict[str, Append] = {}
        failures: dict[str, Append] = {}
        for append in history.appends:
            known = failures if append.outcome is Outcome.FAILED else senders
            for message in append.ids:
                known.setdefault(message, append)
        return cls(
            tail_may_be_lost=history.tail_may_be_lost,
            final=final,
            sightings=(final, *answers),
            reads=reads,
            acknowledgements=acknowledgements,
            acknowledged=acknowledged,
            senders=senders,
            failures=failures,
            batches=_batches(history.appends),
            positions={message: position for position, message in final.first_entries()},
            last=max((entry.position for entry in final.entries), default=0),
        )

    def answered_reads(self) -> Iterator[tuple[Sighting, Read]]:
        """Each answered read, with what it saw."""
        return zip(self.sightings[1:], self.reads, strict=True)

    def answers(self) -> Iterator[Sighting]:
        """What the store said about positions when it acknowledged appends."""
        for append in self.acknowledgements:
            entries = tuple(map(Entry, append.positions, append.ids))
            yield Sighting(f"the answer to {append.worker}", entries, (append,))

    def places(self) -> dict[str, int]:
        """Where each message is, or was before the tail was lost."""
        places = dict(self.positions)
        if self.tail_may_be_lost:
            for append in self.acknowledgements:
                for position, message in zip(append.positions, append.ids, strict=True):
                    places.setdefault(message, position)
        return places


def _batches(appends: tuple[Append, ...]) -> tuple[Append, ...]:
    # An id that was also sent in other company may rightly stand apart from this one.
    company: dict[str, tuple[str, ...]] = {}
    mixed: set[str] = set()
    for append in appends:
        for message in append.ids:
            if company.setdefault(message, append.ids) != append.ids:
                mixed.add(message)
    batches = {
        append.ids: append
        for append in appends
        if len(append.ids) > 1 and mixed.isdisjoint(append.ids)
    }
    return tuple(batches.values())
