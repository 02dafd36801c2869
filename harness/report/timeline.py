"""A history as a picture: who did what when, what came of it, and when the server was broken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from harness.histories import History, LockHistory, Operation, Violation, check, check_locks
from harness.histories.locks import Hold, LockRecord
from harness.histories.record import Append, HistoryRecord
from harness.histories.verdict import Outcome

WIDTH, GUTTER, LANE, TOP, BOTTOM = 960, 150, 30, 26, 24
"""Of the picture, in its own units: the left column has the names, the foot has the axis."""
TICKS = 8
SAID = 5
"""Broken rules that are told below a picture."""
AFTER = 0.12
"""How much is shown after the event, as a share of what came before it."""
WORDS = {
    "kept": "acknowledged",
    "lost": "acknowledged and gone",
    "failed": "failed",
    "unknown": "unknown",
    "read": "read",
    "waiting": "waited for the lock",
    "held": "held the lock",
    "call": "answered",
}


@dataclass(frozen=True, slots=True)
class Bar:
    """One operation. Times are nanoseconds."""

    lane: str
    kind: str
    start: int
    end: int
    title: str = ""
    mark: str = ""
    """The number of the broken rule that it proves."""


@dataclass
class Picture:
    """Lanes with bars on an axis of time."""

    title: str
    bars: list[Bar]
    notes: dict[str, str] = field(default_factory=dict)
    """A few words below the name of a lane."""
    event: tuple[str, int] | None = None
    said: list[str] = field(default_factory=list)
    """The first broken rules."""
    more: int = 0
    """How many there are beside them."""
    width = WIDTH
    gutter = GUTTER

    @property
    def lanes(self) -> list[str]:
        """The lanes' names, in order, and numbers in theirs."""
        return sorted({bar.lane for bar in self.bars}, key=_naturally)

    @property
    def start(self) -> int:
        """When the first operation began."""
        return min(bar.start for bar in self.bars)

    @property
    def end(self) -> int:
        """Where the axis ends: a little after the event, where there was one."""
        last = max(bar.end for bar in self.bars)
        if self.event:
            moment = self.event[1]
            last = min(last, moment + int((moment - self.start) * AFTER))
        return max(last, self.start + 1000)

    @property
    def height(self) -> int:
        """Of the picture."""
        return TOP + LANE * len(self.lanes) + BOTTOM

    @property
    def legend(self) -> list[tuple[str, str]]:
        """Each kind of bar that is there, with its meaning."""
        return [(kind, WORDS[kind]) for kind in WORDS if any(b.kind == kind for b in self.bars)]

    def summary(self) -> str:
        """Return it in words: how many bars of each kind, and the event."""
        counts = Counter(bar.kind for bar in self.bars)
        words = [f"{counts[kind]} {word}" for kind, word in self.legend]
        event = [f"the {self.event[0]} in the end"] if self.event else []
        return ", ".join([f"{len(self.lanes)} lanes", *words, *event])

    def join(self, other: Picture) -> None:
        """Add the lanes of another session, whose rules are counted on."""
        told = len(self.said)
        marked = (replace(b, mark=str(int(b.mark) + told)) if b.mark else b for b in other.bars)
        self.bars += marked
        self.notes |= other.notes
        self.said += other.said
        self.more += other.more

    def x(self, moment: int) -> float:
        """Return where a moment is."""
        share = (moment - self.start) / (self.end - self.start)
        return round(GUTTER + min(max(share, 0.0), 1.0) * (WIDTH - GUTTER - 10), 1)

    def y(self, lane: str) -> int:
        """Return where the middle of a lane is."""
        return TOP + LANE * self.lanes.index(lane) + LANE // 2

    def paths(self) -> list[tuple[str, str]]:
        """Return the outlines of all bars, kind by kind: a thousand of them are a few paths."""
        found: dict[str, list[str]] = {}
        rows = {lane: self.y(lane) for lane in self.lanes}
        for bar in self.bars:
            left = self.x(bar.start)
            width = round(max(self.x(bar.end) - left, 1.2), 1)
            found.setdefault(bar.kind, []).append(f"M{left} {rows[bar.lane]}h{width}")
        return [(kind, "".join(parts)) for kind, parts in found.items()]

    @property
    def marked(self) -> list[Bar]:
        """The bars that prove a broken rule."""
        return [bar for bar in self.bars if bar.mark]

    def ticks(self) -> list[tuple[float, str]]:
        """Return places and labels of the axis: milliseconds, or seconds, since its start."""
        span = self.end - self.start
        step = _nice(span / TICKS)
        unit, divisor = ("s", 1e9) if span > 4e9 else ("ms", 1e6)
        moments = range(0, span + 1, step)
        return [(self.x(self.start + one), f"{one / divisor:g} {unit}") for one in moments]


def pictures(records: Iterable[Mapping[str, Any]]) -> list[Picture]:
    """Return a picture of each kept history; of those of one event, one with a lane a session.

    What is no history gives none.
    """
    found: dict[object, Picture] = {}
    for number, record in enumerate(records):
        try:
            one = _picture(record)
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        if one is None or not one.bars:
            continue
        key = one.event or number
        if key in found:
            found[key].join(one)
        else:
            found[key] = one
    return list(found.values())


def of_calls(calls: Sequence[Sequence[Any]]) -> Picture | None:
    """Return a picture of calls that several threads made; None if there were none."""
    bars = []
    names: dict[str, str] = {}
    for worker, name, start, end, error in calls:
        lane = names.setdefault(worker, f"caller {len(names) + 1}")
        said = f"{name}: {error or 'answered'}"
        bars.append(Bar(lane, "failed" if error else "call", start, end, said))
    return Picture("The store's calls, by thread", bars) if bars else None


def _picture(record: Mapping[str, Any]) -> Picture | None:
    if record["kind"] == "lock":
        return _of_lock(LockHistory.from_dict(cast("LockRecord", record)))
    return _of_messages(record, History.from_dict(cast("HistoryRecord", record)))


def _of_messages(record: Mapping[str, Any], history: History) -> Picture:
    there = {entry.id for entry in history.truth}
    session = record.get("session")
    event = (str(record["event"]), int(record["event_ns"])) if "event" in record else None
    violations = check(history)
    marks = _marks(violations)
    bars = []
    lost: dict[str, int] = {}
    acknowledged: dict[str, int] = {}
    for operation in sorted((*history.appends, *history.reads), key=lambda op: op.invoked):
        lane = f"session {session}" if session else operation.worker
        kind = "read"
        if operation.outcome is not Outcome.ACKNOWLEDGED:
            kind = operation.outcome.value
        elif isinstance(operation, Append):
            gone = sum(one not in there for one in operation.ids)
            lost[lane] = lost.get(lane, 0) + gone
            acknowledged[lane] = acknowledged.get(lane, 0) + len(operation.ids)
            kind = "lost" if gone else "kept"
        bars.append(_bar(lane, kind, operation, marks))
    notes = {lane: f"{lost[lane]} of {count} lost" for lane, count in acknowledged.items()}
    title = "Calls on one session"
    if event:
        title = f"Appends before the {event[0].replace('_', ' ')}, and what was left of them"
    return Picture(title, bars, notes, event, *_said(violations))


def _of_lock(history: LockHistory) -> Picture:
    violations = check_locks(history)
    marks = _marks(violations)
    bars = []
    for hold in history.holds:
        if hold.outcome is not Outcome.ACKNOWLEDGED or hold.completed is None:
            bars.append(_bar(hold.worker, hold.outcome.value, hold, {}))
            continue
        bars.append(Bar(hold.worker, "waiting", hold.invoked, hold.completed))
        until = max(hold.completed, _until(hold))
        bars.append(
            Bar(hold.worker, "held", hold.completed, until, str(hold), marks.get(id(hold), ""))
        )
    said, more = _said(violations)
    return Picture("Who held the lock, and when", bars, said=said, more=more)


def _until(hold: Hold) -> int:
    end = hold.certain_until
    return int(end) if end < float("inf") else hold.invoked


def _bar(lane: str, kind: str, operation: Operation, marks: Mapping[int, str]) -> Bar:
    end = operation.invoked if operation.completed is None else operation.completed
    return Bar(lane, kind, operation.invoked, end, str(operation), marks.get(id(operation), ""))


def _marks(violations: Sequence[Violation]) -> dict[int, str]:
    """Return the number of the rule that each operation proves to be broken, by its identity."""
    marks: dict[int, str] = {}
    for number, violation in enumerate(violations[:SAID], start=1):
        for operation in violation.operations:
            marks.setdefault(id(operation), str(number))
    return marks


def _said(violations: Sequence[Violation]) -> tuple[list[str], int]:
    return [str(violation) for violation in violations[:SAID]], max(0, len(violations) - SAID)


def _naturally(name: str) -> tuple[str, int]:
    words = name.rstrip("0123456789")
    return words, int(name[len(words) :] or 0)


def _nice(step: float) -> int:
    """Return the next of 1, 2, 5, 10, 20, … that is no smaller."""
    size = 1
    while True:
        for factor in (1, 2, 5):
            if factor * size >= step:
                return factor * size
        size *= 10
