"""reports/<cell>/outcome.json: whether a cell ran at all. Standard library only."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

NOT_RUN_EXIT = 78
"""pytest's exit code for a cell that this machine cannot run."""
RESULTS = "results.jsonl"
"""Where pytest-reportlog streams a cell's results."""
RUN_VARIABLE = "MATRIX_RUN"
"""The environment variable that names a nox run to all of its processes."""
FILE = "outcome.json"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a cell: ``running``, ``done``, ``not run`` or ``error``, with the reason."""

    outcome: str
    reason: str
    not_run: int = 0
    """How many contracts did not run, of a cell that is done."""
    run: str = ""
    """The nox run that it belongs to, empty outside of nox."""
    owner: str = ""
    """The mark of the process that ran it: `harness.servers.ownership.owner`."""
    contracts: int = 0
    """How many contracts were selected, once that is known."""
    started: float = 0.0
    """When the cell began, in seconds since the epoch."""
    seconds: float = 0.0
    """How long it has taken so far."""


def write_outcome(folder: Path, outcome: Outcome) -> None:
    """Write an outcome, wholly or not at all."""
    draft = folder / f"{FILE}.{os.getpid()}"
    draft.write_text(json.dumps(asdict(outcome), indent=2) + "\n", encoding="utf-8")
    draft.replace(folder / FILE)


def read_outcome(folder: Path) -> Outcome:
    """Return the outcome; a folder without one is ``not run``."""
    try:
        return Outcome(**json.loads((folder / FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return Outcome("not run", "it left no report")


def verdict(folder: Path, run: str, *, strict: bool) -> tuple[str, str]:
    """Return what a cell makes of its session, ``passed``, ``skipped`` or ``failed``, and why."""
    found = read_outcome(folder)
    outcome, reason = found.outcome, found.reason
    if found.run != run:
        outcome, reason = "not run", "it left no report"
    if outcome != "done":
        skipped = outcome == "not run" and not strict
        return ("skipped" if skipped else "failed"), f"{outcome}: {reason}"
    if found.not_run and strict:
        return "failed", f"{found.not_run} contracts did not run; the report says why"
    return "passed", ""
