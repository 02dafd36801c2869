"""What the page tells of one cell: what its server said of itself, its promises, its durations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from harness.matrix import Cell, Matrix
from harness.report.decisions import Verdict
from harness.report.measured import EVENT_LABELS, lacking, measured, promised
from harness.report.results import CellReport
from harness.report.slowest import slowest

FILES = ("server.log", "results.jsonl", "facts.json", "outcome.json", "junit.xml", "histories")
SLOWEST = 5


def short_name(cell: Cell) -> list[str]:
    """Return a cell's name below that of its image, in one line or two."""
    *most, last = list(cell.values.values()) or [cell.id]
    return [" ".join(most), last] if most else [last]


def cell_facts(
    matrix: Matrix, cell: CellReport, groups: Sequence[str], reports: Path
) -> dict[str, Any]:
    """Return what the page shows of a cell."""
    row = matrix.cells[cell.cell]
    seconds = dict.fromkeys(groups, 0.0)
    for result in cell.results:
        seconds[result.group] = seconds.get(result.group, 0.0) + result.seconds
    found = [name for name in FILES if (reports / cell.cell / name).exists()]
    return {
        "id": cell.cell,
        "outcome": cell.outcome,
        "reason": cell.reason,
        "counts": cell.counts(),
        "seconds": cell.seconds,
        "facts": {name: cell.facts[name] for name in cell.facts if name != "settings"},
        "settings": cell.facts.get("settings", {}),
        "verdicts": {
            event: (Verdict(promise, measured(matrix, cell, event)), lacking(row, event))
            for event in EVENT_LABELS
            if (promise := promised(row, event))
        },
        "durations": [(group, spent) for group, spent in seconds.items() if spent],
        "slowest": slowest([cell], SLOWEST),
        "files": [(name, quote(f"{cell.cell}/{name}")) for name in found],
    }
