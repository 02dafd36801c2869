"""Which rows no measurement tells from a neighbour: a matrix may have rows that show nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.matrix import Cell, Matrix
from harness.promises import EVENTS
from harness.report.measured import labels, measured, neighbours
from harness.report.results import CellReport


@dataclass(slots=True)
class Pair:
    """Two values of an axis, all other values being equal, in every pair of cells that there is."""

    axes: tuple[str, ...]
    axis: str
    values: tuple[str, str]
    pairs: int = 0
    told_apart: Counter[str] = field(default_factory=Counter)
    """In how many pairs of cells an event was measured differently."""
    alike: dict[str, str] = field(default_factory=dict)
    """What both measured in an event that did not tell them apart."""
    promises: dict[str, tuple[str, str]] = field(default_factory=dict)
    """What they promise, where that differs."""
    rules: frozenset[str] | None = None
    """Which rules applied to one of them alone, in every pair of cells."""

    @property
    def discriminated(self) -> bool:
        """Whether any event told them apart in any pair of cells."""
        return bool(self.told_apart)

    @property
    def own(self) -> list[str]:
        """The rules that apply to one of them alone, in order."""
        return sorted(self.rules or ())

    def needed(self) -> str:
        """Return what would tell them apart."""
        if not self.promises:
            none = "an event in which they promise different things: there is none"
            return f"{none}; only one of them has {', '.join(self.own)}" if self.own else none
        said = []
        for event, (one, other) in self.promises.items():
            if event in self.alike:
                said.append(f"more of {event}: {one} and {other} both {self.alike[event]}")
            else:
                said.append(f"{event}, which was not measured")
        return "; ".join(said)

    def plain(self) -> dict[str, Any]:
        """Return it as matrix.json has it."""
        return {
            "axis": self.axis,
            "values": list(self.values),
            "pairs": self.pairs,
            "told_apart": dict(self.told_apart),
            "rules": self.own,
            "needed": None if self.discriminated else self.needed(),
        }


def pairs(matrix: Matrix, reports: Sequence[CellReport]) -> list[Pair]:
    """Compare all neighbours that were measured: cells of one image which differ in one value."""
    events = [*EVENTS, *(label for label in labels(reports) if label not in EVENTS)]
    by_id = {report.cell: report for report in reports if labels([report])}
    cells = [matrix.cells[cell_id] for cell_id in by_id]
    found: dict[tuple[tuple[str, ...], str, tuple[str, str]], Pair] = {}
    for axis in {axis: None for cell in cells for axis in cell.values}:
        of_axis = [cell for cell in cells if axis in cell.values]
        for one, other in neighbours(of_axis, axis):
            key = tuple(one.values), axis, (one.values[axis], other.values[axis])
            pair = found.setdefault(key, Pair(*key))
            pair.pairs += 1
            rules = _rules(by_id[one.id]) ^ _rules(by_id[other.id])
            pair.rules = rules if pair.rules is None else pair.rules & rules
            for event in events:
                _compare(pair, event, one, other, _classes(matrix, by_id, event, one, other))
    return list(found.values())


def _rules(report: CellReport) -> frozenset[str]:
    return frozenset(r.rule for r in report.results if r.outcome != "not applicable")


def _compare(
    pair: Pair, event: str, one: Cell, other: Cell, classes: tuple[str | None, str | None]
) -> None:
    promised = str(one.promises.get(event)), str(other.promises.get(event))
    if promised[0] != promised[1]:
        pair.promises[event] = promised
    if None in classes:
        return
    if classes[0] != classes[1]:
        pair.told_apart[event] += 1
    else:
        pair.alike[event] = str(classes[0])


def _classes(
    matrix: Matrix, reports: Mapping[str, CellReport], event: str, one: Cell, other: Cell
) -> tuple[str | None, str | None]:
    found = [measured(matrix, reports[cell.id], event) for cell in (one, other)]
    first, second = (seen.outcome if seen else None for seen in found)
    return first, second
