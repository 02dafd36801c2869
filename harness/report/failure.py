"""What a failing contract tells beside its message: kept as data with the result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

PROPERTY = "failure"
"""The name under which a result carries it."""


@dataclass(frozen=True, slots=True)
class Failure:
    """The rule, what was done, and the way back to it. Every field is plain JSON."""

    rules: list[str]
    sentence: str
    check: list[str]
    """What to check, line by line."""
    done: list[str]
    """The last calls of the store."""
    log: str
    """The server's log, as the run named it."""
    again: str
    """The command that repeats exactly this."""
    expected: str = ""
    got: str = ""
    """Both sides of the comparison that failed, where there was one."""
    histories: list[str] = field(default_factory=list)
    """Files in the cell's folder."""
    calls: list[list[Any]] = field(default_factory=list)
    """Calls that several threads made: worker, name, start and end in nanoseconds, error."""

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> Self:
        """Return what a report kept; what another version wrote may lack or have more."""
        empty: dict[str, Any] = {"rules": [], "sentence": "", "check": [], "done": []}
        known = {one.name for one in fields(cls)}
        found = {name: value for name, value in kept.items() if name in known}
        return cls(**{**empty, "log": "", "again": "", **found})

    def lines(self) -> list[str]:
        """Return it as text."""
        return [
            f"rule         {', '.join(self.rules)}: {self.sentence}",
            *(f"what to check  {line}" for line in self.check),
            "what was done",
            *(f"  {line}" for line in self.done or ["(no call of the store)"]),
            f"server log   {self.log}",
            f"again        {self.again}",
        ]
