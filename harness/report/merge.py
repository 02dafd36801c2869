"""All cells together: totals, promised vs measured, and the files that other programs read."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.matrix import Matrix
from harness.promises import EVENTS
from harness.report.grid import LEGEND, MARKS
from harness.report.outcome import read_outcome
from harness.report.results import GROUPS, OUTCOMES, CellReport, read_cell


def read_run(matrix: Matrix, reports: Path, run: str | None) -> list[CellReport]:
    """Read the cells of a nox run; without one, all of the matrix lane, whenever they ran."""
    if run is None:
        return [read_cell(reports / cell_id) for cell_id in matrix.lanes["matrix"]]
    folders = [reports / cell_id for cell_id in matrix.cells]
    return [read_cell(folder) for folder in folders if read_outcome(folder).run == run]


def totals(cells: list[CellReport]) -> Counter[str]:
    """Count the outcomes of all contracts."""
    return sum((cell.counts() for cell in cells), Counter())


def worst(cell: CellReport, event: str) -> dict[str, Any] | None:
    """Return the measurement with the greatest loss of an event, None where none was made."""
    found = [m for r in cell.results for m in r.measured if m["event"] == event]
    return max(found, key=lambda m: (m.get("lost", 0), m.get("lost_seconds", 0)), default=None)


def machine_readable(matrix: Matrix, cells: list[CellReport]) -> dict[str, Any]:
    """Return what reports/matrix.json holds."""
    return {
        "totals": {outcome: totals(cells)[outcome] for outcome in OUTCOMES},
        "cells": {
            cell.cell: {
                "outcome": cell.outcome,
                "reason": cell.reason,
                "facts": cell.facts,
                "promises": {
                    event: str(promise)
                    for event, promise in matrix.cells[cell.cell].promises.items()
                },
                "measured": {event: worst(cell, event) for event in EVENTS},
                "counts": {outcome: cell.counts()[outcome] for outcome in OUTCOMES},
                "seconds": round(cell.seconds, 3),
                "contracts": [asdict(result) for result in cell.results],
            }
            for cell in cells
        },
    }


def summary(matrix: Matrix, cells: list[CellReport]) -> str:
    """Return reports/summary.md: totals, grid, promised vs measured, and what went wrong."""
    counts = totals(cells)
    shown = [group for group in GROUPS if any(cell.counts(group) for cell in cells)]
    lines = [
        "# Which configurations keep an agent's memory",
        "",
        f"{sum(cell.outcome == 'done' for cell in cells)} of {len(cells)} cells ran: "
        + ", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES)
        + ".",
        "",
        _row(["cell", *shown]),
        _row(["---"] * (len(shown) + 1)),
        *(
            _row([cell.cell, *(_counts(cell.counts(group)) for group in shown)])
            if cell.results
            else _row([cell.cell, f"{cell.outcome}: {cell.reason}".replace("\n", " ")])
            for cell in cells
        ),
        "",
        f"In the grid: {LEGEND}.",
        "",
        "## Promised and measured",
        "",
        _row(["cell", "event", "promised", "worst loss measured", "of acknowledged writes"]),
        _row(["---"] * 5),
        *(line for cell in cells for line in _measured(matrix, cell)),
    ]
    for cell in cells:
        for result in cell.failed:
            heading = f"## {cell.cell}: {result.rule} on {result.store}: {result.outcome}"
            lines += ["", heading, "", "```", result.reason, "```"]
    left_out = [
        f"- {cell.cell}: {count} contracts: {reason}"
        for cell in cells
        for reason, count in cell.left_out.items()
    ]
    if left_out:
        lines += ["", "## What did not run", "", *left_out]
    reasons = sorted({r.reason for c in cells for r in c.results if r.outcome == "not applicable"})
    if reasons:
        lines += ["", "## Why some rules do not apply", "", *(f"- {reason}" for reason in reasons)]
    return "\n".join(lines) + "\n"


def _measured(matrix: Matrix, cell: CellReport) -> list[str]:
    rows = []
    for event, promise in matrix.cells[cell.cell].promises.items():
        loss = worst(cell, event)
        if loss is not None:
            lost = f"{loss['lost']} writes, {loss['lost_seconds']:.2f} s"
            acknowledged = str(loss["acknowledged"])
            rows.append(_row([cell.cell, event, str(promise), lost, acknowledged]))
    return rows


def _counts(counts: Counter[str]) -> str:
    return " ".join(f"{sign}{counts[o]}" for o, (sign, _) in MARKS.items() if counts[o])


def _row(values: list[str]) -> str:
    return f"| {' | '.join(values)} |"
