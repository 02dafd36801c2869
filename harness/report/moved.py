"""What became of data that was brought to another row or image: from, to, kept, refused or lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.changes import CHANGE, Change
from harness.matrix import Matrix
from harness.report.results import CellReport

SAID = {
    "kept": "kept",
    "kept_for_now": "kept until the next kill, whatever the new row promises",
    "refused": "refused",
    "lost": "lost silently",
    "damaged": "damaged",
}
NOT_MADE = "not made"


@dataclass(slots=True)
class Moved:
    """A change that matrix.toml speaks of, and what became of the data of each store."""

    change: Change
    from_nothing: bool
    """Whether any restart of its row loses all."""
    fates: dict[str, str] = field(default_factory=dict)
    """By store; empty where it was not made."""
    said: str = ""
    """What the server said when it refused the data."""

    @property
    def summary(self) -> str:
        """What became of it, in a few words."""
        words = [SAID.get(fate, fate) for fate in dict.fromkeys(self.fates.values())]
        if self.from_nothing:
            words = ["lost, as at any restart" if word == SAID["lost"] else word for word in words]
        return " or ".join(words) if words else NOT_MADE

    @property
    def outcome(self) -> str:
        """What became of it, with what the server said of it."""
        return f"{self.summary}: {self.said}" if self.said else self.summary

    def plain(self) -> dict[str, Any]:
        """Return it as matrix.json has it."""
        return {
            "from": self.change.origin,
            "to": self.change.target,
            "axis": self.change.axis,
            "way": self.change.way,
            "promise": self.change.fate,
            "measured": self.fates,
            "said": self.said,
        }


def moved(matrix: Matrix, reports: Sequence[CellReport]) -> list[Moved]:
    """Return the changes that begin in the cells that ran, whether they were made or not."""
    found = {}
    for report in reports:
        if not report.results:
            continue
        for change in matrix.changes:
            if change.origin == report.cell:
                promise = matrix.cells[change.origin].promises.get("restart")
                nothing = promise is not None and promise.kind == "loses_all"
                found[change.target, change.way, change.origin] = Moved(change, nothing)
        for result in report.results:
            for seen in result.measured:
                if seen["event"] == CHANGE:
                    one = found.get((seen["target"], seen["way"], seen["origin"]))
                    if one is not None:
                        one.fates[result.store] = seen["fate"]
                        one.said = seen.get("said", "") or one.said
    return list(found.values())
