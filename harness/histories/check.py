"""What must be true of every concurrent history of one session: one small check a rule.

Each check looks for its own defect only, so that one defect is told once. Together they say that
there is one order of all that was acknowledged, that every read is a prefix of it (or the end of a
prefix), that it agrees with real time, and that it holds nothing that was never sent.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate, pairwise

from harness.histories.evidence import Evidence, Sighting
from harness.histories.record import History, Read
from harness.histories.verdict import Operation, Violation

Check = Callable[[Evidence], Iterator[Violation]]


def lost(evidence: Evidence) -> Iterator[Violation]:
    """What was acknowledged is there (or was behind all that survived, if a tail may be lost)."""
    batches = {batch.ids for batch in evidence.batches}
    for append in dict.fromkeys(evidence.acknowledged.values()):
        entries = zip(append.positions, append.ids, strict=True)
        missing = [entry for entry in entries if entry[1] not in evidence.positions]
        if len(missing) < len(append.ids) and append.ids in batches:
            continue  # half of it is there, which makes it torn
        if evidence.tail_may_be_lost:
            missing = [entry for entry in missing if entry[0] <= evidence.last]
        if missing:
            gone = ", ".join(message for _, message in missing)
            sentence = f"{gone} was acknowledged and is not in the final history"
            yield Violation("lost", sentence, (append,))


def doubled(evidence: Evidence) -> Iterator[Violation]:
    """Nothing is there twice."""
    for sighting in evidence.sightings:
        if not sighting.distinct:
            seen: dict[str, int] = {}
            for position, message in sighting.entries:
                if message in seen:
                    where = f"at {seen[message]} and at {position}"
                    sentence = f"{sighting.name} holds {message} twice, {where}"
                    yield Violation("doubled", sentence, _about(evidence, sighting, message))
                seen.setdefault(message, position)


def invented(evidence: Evidence) -> Iterator[Violation]:
    """Nothing is there that was never sent, or whose append certainly failed."""
    for sighting in evidence.sightings:
        for message in sorted(set(sighting.ids) - evidence.senders.keys()):
            why = "whose append failed" if message in evidence.failures else "which nobody sent"
            sentence = f"{sighting.name} holds {message}, {why}"
            yield Violation("invented", sentence, _about(evidence, sighting, message))


def reordered(evidence: Evidence) -> Iterator[Violation]:
    """A message has one position and a position one message, whoever looks and whenever."""
    messages: dict[int, tuple[str, Sighting]] = {}
    positions: dict[str, tuple[int, Sighting]] = {}
    for sighting in (*evidence.sightings, *evidence.answers()):
        if sighting is not evidence.final and sighting.begins(evidence.final):
            continue
        for position, message in sighting.first_entries():
            other, witness = messages.setdefault(position, (message, sighting))
            if other != message:
                sentence = f"{sighting.name} holds {message} at {position}, {witness.name} {other}"
            else:
                elsewhere, witness = positions.setdefault(message, (position, sighting))
                if elsewhere == position:
                    continue
                sentence = (
                    f"{sighting.name} holds {message} at {position}, {witness.name} at {elsewhere}"
                )
            yield Violation("reordered", sentence, sighting.operations + witness.operations)
            break  # one shift moves all that follows


def unsorted(evidence: Evidence) -> Iterator[Violation]:
    """Positions grow from the oldest to the newest, whoever looks."""
    for sighting in evidence.sightings:
        for before, after in pairwise(sighting.first_entries()):
            if after.position < before.position:
                sentence = (
                    f"{sighting.name} holds {after.id} at {after.position}"
                    f" after {before.id} at {before.position}"
                )
                yield Violation("unsorted", sentence, sighting.operations)
                break


def holes(evidence: Evidence) -> Iterator[Violation]:
    """The positions of the final history are 1, 2, 3 and so on."""
    positions = sorted({entry.position for entry in evidence.final.entries})
    for before, after in pairwise([0, *positions]):
        if after != before + 1:
            sentence = f"the final history has position {after} after position {before}"
            yield Violation("holes", sentence)


def torn(evidence: Evidence) -> Iterator[Violation]:
    """A batch is there as a whole, together and in its order, or not at all."""
    if not evidence.batches:
        return
    for sighting in evidence.sightings:
        ids = sighting.ids
        # Reversed, so that the first of two entries with one id counts.
        index = {ids[place]: place for place in reversed(range(len(ids)))}
        for batch in evidence.batches:
            start = index.get(batch.ids[0])
            if start is None:
                whole = index.keys().isdisjoint(batch.ids)
            else:
                whole = ids[start : start + len(batch.ids)] == batch.ids
            if not whole and not sighting.cuts(batch.ids):
                there = ", ".join(message for message in ids if message in batch.ids)
                sentence = f"of the batch {', '.join(batch.ids)} {sighting.name} holds {there}"
                yield Violation("torn", sentence, (batch, *sighting.operations))


def skipped(evidence: Evidence) -> Iterator[Violation]:
    """A read leaves out nothing that is before its end."""
    final = sorted(evidence.final.entries)
    positions = [entry.position for entry in final]
    for sighting, read in evidence.answered_reads():
        start = 0 if read.limit is None else bisect_right(positions, read.end - read.limit)
        expected = final[start : bisect_right(positions, read.end)]
        if list(sighting.entries) != expected:
            seen = set(sighting.ids)
            missing = [entry.id for entry in expected if entry.id not in seen]
            if missing:
                sentence = (
                    f"{sighting.name} up to position {read.end} leaves out {', '.join(missing)}"
                )
                yield Violation("skipped", sentence, _about(evidence, sighting, *missing))


def vanished(evidence: Evidence) -> Iterator[Violation]:
    """What was read stays, even if its writer never heard of its success."""
    told: set[str] = set()
    for sighting in evidence.sightings:
        unconfirmed = set(sighting.ids) - evidence.positions.keys() - evidence.acknowledged.keys()
        if unconfirmed:
            for position, message in sighting.first_entries():
                if message not in unconfirmed - told or message not in evidence.senders:
                    continue
                if evidence.tail_may_be_lost and position > evidence.last:
                    continue
                told.add(message)
                sentence = f"{message} is in {sighting.name} and not in the final history"
                yield Violation("vanished", sentence, _about(evidence, sighting, message))


def overtaken(evidence: Evidence) -> Iterator[Violation]:
    """If one append was acknowledged before another began, it comes first."""
    places = evidence.places()
    latest = None  # of all senders so far, the one that began last
    told: set[tuple[str, ...]] = set()
    for message in sorted(places, key=places.__getitem__):
        append = evidence.acknowledged.get(message)
        if append and latest and append.finished < latest.invoked and append.ids not in told:
            told.add(append.ids)
            first, second = ", ".join(append.ids), ", ".join(latest.ids)
            sentence = f"{first} was acknowledged before {second} was sent, and comes after it"
            yield Violation("overtaken", sentence, (append, latest))
        sender = evidence.senders.get(message)
        if sender and (latest is None or sender.invoked > latest.invoked):
            latest = sender


def stale(evidence: Evidence) -> Iterator[Violation]:
    """A read sees all that was acknowledged before it began."""
    places = evidence.places()
    known = sorted(
        (append.finished, places[message], message)
        for message, append in evidence.acknowledged.items()
        if message in places
    )
    newest = list(accumulate(((place, message) for _, place, message in known), max))
    for sighting, read in evidence.answered_reads():
        before = bisect_left(known, (read.invoked,))
        place, message = newest[before - 1] if before else (0, "")
        if place > read.end:
            sentence = (
                f"{sighting.name} ends at position {read.end},"
                f" though {message} was acknowledged at {place} before"
            )
            yield Violation("stale", sentence, _about(evidence, sighting, message))


def backwards(evidence: Evidence) -> Iterator[Violation]:
    """A read sees all that a read saw which was answered before it began."""
    reads = sorted(evidence.reads, key=lambda read: read.finished)
    finished = [read.finished for read in reads]
    furthest = list(accumulate(reads, _further))
    for sighting, read in evidence.answered_reads():
        before = bisect_left(finished, read.invoked)
        if before and (earlier := furthest[before - 1]).end > read.end:
            sentence = (
                f"{sighting.name} ends at position {read.end},"
                f" an earlier one by {earlier.worker} at {earlier.end}"
            )
            yield Violation("backwards", sentence, (earlier, read))


def premature(evidence: Evidence) -> Iterator[Violation]:
    """A read sees nothing that was sent after it was answered."""
    invoked = {message: append.invoked for message, append in evidence.senders.items()}
    for sighting, read in evidence.answered_reads():
        for message in sighting.ids:
            if invoked.get(message, 0) > read.finished:
                sentence = f"{sighting.name} holds {message}, which was sent only afterwards"
                yield Violation("premature", sentence, _about(evidence, sighting, message))


CHECKS: tuple[Check, ...] = (
    lost,
    doubled,
    invented,
    torn,
    holes,
    unsorted,
    reordered,
    skipped,
    vanished,
    overtaken,
    stale,
    backwards,
    premature,
)


def check(history: History, checks: Iterable[Check] = CHECKS) -> list[Violation]:
    """Return every broken rule, in the order of the checks; an empty list if nothing is broken.

    Raises ValueError if the history has no final read.
    """
    evidence = Evidence.of(history)
    return [violation for look in checks for violation in look(evidence)]


def _about(evidence: Evidence, sighting: Sighting, *messages: str) -> tuple[Operation, ...]:
    senders = (
        evidence.acknowledged.get(message)
        or evidence.senders.get(message)
        or evidence.failures.get(message)
        for message in messages
    )
    return (*dict.fromkeys(sender for sender in senders if sender), *sighting.operations)


def _further(one: Read, other: Read) -> Read:
    return other if other.end > one.end else one
