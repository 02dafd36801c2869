"""What an operation came to, and what a checker says about it."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

# A broken store breaks a rule a thousand times; the first few tell the story.
SHOWN_PER_RULE = 5


class Outcome(StrEnum):
    """Jepsen's three verdicts: ok, fail, info."""

    ACKNOWLEDGED = "acknowledged"
    FAILED = "failed"  # certainly not applied
    UNKNOWN = "unknown"  # applied, or not, or later


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One call of one worker.

    `invoked` and `completed` are `time.monotonic_ns()`, a clock that all processes of one machine
    share. An operation that never came back has no `completed` and is unknown.
    """

    worker: str
    invoked: int
    completed: int | None = None
    outcome: Outcome = Outcome.UNKNOWN
    error: str = ""

    @property
    def finished(self) -> float:
        """When it completed; never, if it did not."""
        return float("inf") if self.completed is None else self.completed

    @property
    def result(self) -> str:
        """The outcome with its error, if it had one."""
        if self.completed is None:
            return "never came back"
        return f"{self.outcome} ({self.error})" if self.error else str(self.outcome)

    def __str__(self) -> str:
        return f"{self.worker}: {self.result}"


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule: its name, what happened in a sentence, and the operations that prove it."""

    rule: str
    sentence: str
    operations: tuple[Operation, ...] = ()

    def __str__(self) -> str:
        return f"{self.rule}: {self.sentence}"


def explain(violations: Iterable[Violation]) -> str:
    """Return the violations as text, grouped by rule, with the operations and their times.

    Times are milliseconds since the first operation that is involved.
    """
    by_rule: defaultdict[str, list[Violation]] = defaultdict(list)
    for violation in violations:
        by_rule[violation.rule].append(violation)
    if not by_rule:
        return "no violation"
    origin = min(
        (op.invoked for found in by_rule.values() for v in found for op in v.operations), default=0
    )
    lines: list[str] = []
    for rule, found in by_rule.items():
        for violation in found[:SHOWN_PER_RULE]:
            lines.append(str(violation))
            lines.extend(f"    {op} {_times(op, origin)}" for op in violation.operations)
        if len(found) > SHOWN_PER_RULE:
            lines.append(f"{rule}: and {len(found) - SHOWN_PER_RULE} more")
    return "\n".join(lines)


def _times(operation: Operation, origin: int) -> str:
    start = f"{(operation.invoked - origin) / 1e6:.3f}"
    if operation.completed is None:
        return f"[from {start} ms]"
    return f"[{start} to {(operation.completed - origin) / 1e6:.3f} ms]"
