"""All cells together: totals, and what reports/matrix.json holds for other programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.matrix import Matrix
from harness.promises import EVENTS
from harness.report.discrimination import pairs
from harness.report.measured import labels, measured, sums
from harness.report.moved import moved
from harness.report.outcome import read_outcome
from harness.report.results import OUTCOMES, CellReport, read_cell
from harness.report.slowest import slowest


def read_run(
    matrix: Matrix, reports: Path, run: str | None, lane: str = "matrix"
) -> list[CellReport]:
    """Read the cells of a nox run; without one, all of a lane, whenever and wherever they ran.

    Raises MatrixError naming the lanes.
    """
    if run is None:
        return [read_cell(reports / cell.id) for cell in matrix.lane(lane)]
    folders = [reports / cell_id for cell_id in matrix.cells]
    return [read_cell(folder) for folder in folders if read_outcome(folder).run == run]


def totals(cells: Sequence[CellReport]) -> Counter[str]:
    """Count the outcomes of all contracts."""
    return sum((cell.counts() for cell in cells), Counter())


def machine_readable(matrix: Matrix, cells: Sequence[CellReport]) -> dict[str, Any]:
    """Return what reports/matrix.json holds: docs/report.md explains its keys."""
    return {
        "totals": {outcome: totals(cells)[outcome] for outcome in OUTCOMES},
        "sums": [one.plain() for one in sums(matrix, cells)],
        "neighbours": [pair.plain() for pair in pairs(matrix, cells)],
        "changes": [one.plain() for one in moved(matrix, cells)],
        "slowest": [cost.plain() for cost in slowest(cells)],
        "cells": {cell.cell: _cell(matrix, cell) for cell in cells},
    }


def _cell(matrix: Matrix, cell: CellReport) -> dict[str, Any]:
    row = matrix.cells[cell.cell]
    events = dict.fromkeys([*EVENTS, *labels([cell])])
    found = {event: measured(matrix, cell, event) for event in events}
    return {
        "outcome": cell.outcome,
        "reason": cell.reason,
        "image": row.image.name,
        "values": dict(row.values),
        "facts": cell.facts,
        "promises": {event: str(promise) for event, promise in row.promises.items()},
        "measured": {event: one.plain() if one else None for event, one in found.items()},
        "counts": {outcome: cell.counts()[outcome] for outcome in OUTCOMES},
        "seconds": round(cell.seconds, 3),
        "contracts": [asdict(result) for result in cell.results],
    }
