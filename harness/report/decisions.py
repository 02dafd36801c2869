"""Which configuration promises what, and what was measured: rows to decide by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.matrix import Cell, Matrix
from harness.report.measured import (
    EVENT_LABELS,
    Measured,
    deciding_axes,
    lacking,
    promised,
    sums,
)
from harness.report.results import CellReport


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is promised for an event, and what was measured of it; None if it was not."""

    promise: str
    measured: Measured | None


@dataclass(slots=True)
class Row:
    """The cells of an image that agree in the axes which decide what an event may cost."""

    image: str
    values: Mapping[str, str]
    cells: set[str] = field(default_factory=set)
    events: dict[str, Verdict] = field(default_factory=dict)


@dataclass(slots=True)
class Block:
    """The rows of one backend that the same axes tell apart."""

    backend: str
    axes: tuple[str, ...]
    rows: list[Row] = field(default_factory=list)

    @property
    def events(self) -> list[str]:
        """The events of all its rows, in the order of matrix.toml's promises."""
        return list(dict.fromkeys(event for row in self.rows for event in row.events))


def decisions(matrix: Matrix, reports: Sequence[CellReport]) -> list[Block]:
    """Return the blocks of all cells of a run, whether they were measured or not.

    An event that does not apply to a cell is left out.
    """
    found = {(one.image, *one.values.items(), one.event): one for one in sums(matrix, reports)}
    blocks: dict[tuple[str, tuple[str, ...]], Block] = {}
    rows: dict[tuple[object, ...], Row] = {}
    for event in EVENT_LABELS:
        deciding = deciding_axes(matrix, event)
        for report in reports:
            cell = matrix.cells[report.cell]
            promise = promised(cell, event)
            if not promise or lacking(cell, event):
                continue
            axes = deciding[tuple(cell.values)]
            row = _row(blocks, rows, cell, axes)
            row.cells.add(cell.id)
            one = found.get((cell.image.name, *row.values.items(), event))
            row.events[event] = Verdict(promise, one.measured if one else None)
    backends = list(dict.fromkeys(block.backend for block in blocks.values()))
    return sorted(blocks.values(), key=lambda block: backends.index(block.backend))


def _row(
    blocks: dict[tuple[str, tuple[str, ...]], Block],
    rows: dict[tuple[object, ...], Row],
    cell: Cell,
    axes: Sequence[str],
) -> Row:
    values = {axis: cell.values[axis] for axis in axes}
    key = (cell.image.name, *values.items())
    if key not in rows:
        rows[key] = Row(cell.image.name, values)
        place = cell.backend, tuple(axes)
        blocks.setdefault(place, Block(*place)).rows.append(rows[key])
    return rows[key]
