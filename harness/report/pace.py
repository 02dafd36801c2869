"""How far a run is, and how long it still takes. Standard library only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from harness.durations import expected
from harness.matrix import Cell, Matrix
from harness.report.outcome import FILE, RUN_VARIABLE, Outcome, read_outcome

SELECTED = "selected.json"
"""Where the cells stand that a run selected: nox tells its sessions nothing of each other."""


def run_line(reports: Path, matrix: Matrix, seconds: Mapping[str, float]) -> str:
    """Return how far this run is: ``run: 12 of 58 cells, about 3 min left``."""
    found = of_this_run(reports)
    ended = sum(one.outcome != "running" for one in found.values())
    selected = _selected(reports)
    if not selected:
        return f"run: {ended} cells"
    said = f"run: {ended} of {len(selected)} cells"
    cells = [matrix.cells[cell] for cell in selected if cell in matrix.cells]
    left = _seconds_left(cells, found, seconds)
    return f"{said}, about {_rounded(left)} left" if left else said


def note_selected(reports: Path, words: Sequence[str]) -> None:
    """Ask nox which cells the words select, and note them for the cells of this run."""
    listed = subprocess.run(
        [sys.executable, "-m", "nox", "--list", "--json", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        sessions = json.loads(listed.stdout)
        cells = [spec["cell"] for one in sessions if (spec := one["call_spec"]).get("cell")]
    except (ValueError, TypeError, KeyError):
        return
    draft = reports / f"{SELECTED}.{os.getpid()}"
    with suppress(OSError):  # the cells say what is wrong with the folder
        reports.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps({"run": os.environ[RUN_VARIABLE], "cells": cells}))
        draft.replace(reports / SELECTED)


def of_this_run(reports: Path) -> dict[str, Outcome]:
    """Return the cells that have begun in this run, with their outcomes so far."""
    run = os.environ[RUN_VARIABLE]
    found = {path.parent.name: read_outcome(path.parent) for path in reports.glob(f"*/{FILE}")}
    return {cell: one for cell, one in found.items() if one.run == run}


def _selected(reports: Path) -> list[str]:
    try:
        noted = json.loads((reports / SELECTED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return list(noted["cells"]) if noted["run"] == os.environ[RUN_VARIABLE] else []


def _seconds_left(
    selected: Sequence[Cell], found: Mapping[str, Outcome], recorded: Mapping[str, float]
) -> float | None:
    """Return what is left, as long as the recorded proportions and the pace so far are right."""
    takes = expected(selected, recorded)
    found = {cell: one for cell, one in found.items() if cell in takes}
    done = {cell: one.seconds for cell, one in found.items() if one.outcome == "done"}
    if not found or not (done or recorded):
        return None
    pace = sum(done.values()) / sum(takes[cell] for cell in done) if done else 1.0
    now = time.time()
    left = {
        cell: max(0.0, seconds * pace - (now - found[cell].started if cell in found else 0))
        for cell, seconds in takes.items()
        if cell not in found or found[cell].outcome == "running"
    }
    so_far = now - min(one.started for one in found.values())
    all_ = sum(takes.values()) * pace
    at_once = (all_ - sum(left.values())) / max(so_far, 0.1)
    return max([sum(left.values()) / max(at_once, 1.0), *left.values()])


def _rounded(seconds: float) -> str:
    if seconds < 90:
        return f"{max(5, round(seconds / 5) * 5)} s"
    return f"{round(seconds / 60)} min"
