"""The end of an interrupted run: wait for its cells to clean up, and do it for the killed ones."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from harness.report.outcome import FILE, Outcome, read_outcome, write_outcome
from harness.servers.ownership import is_gone

SETTLE_SECONDS = 20.0


def settle(reports: Path, run: str) -> None:
    """Return once no process of the run's cells lives, and nothing of theirs is left.

    A cell that was killed in the middle says so in its outcome.
    """
    folders = [path.parent for path in reports.glob(f"*/{FILE}") if _of(path.parent, run)]
    deadline = time.monotonic() + SETTLE_SECONDS
    while any(_lives(read_outcome(folder).owner) for folder in folders):
        if time.monotonic() > deadline:
            return
        time.sleep(0.02)
    found = {folder: read_outcome(folder) for folder in folders}
    for folder, outcome in found.items():
        if outcome.outcome == "running":
            write_outcome(folder, replace(outcome, outcome="error"))
    if any(outcome.outcome in {"running", "error"} for outcome in found.values()):
        from harness.servers.sweep import sweep_all  # noqa: PLC0415 - slow, and rarely needed

        sweep_all()  # an interrupted cell may have been killed while it cleaned up


def _lives(owner: str) -> bool:
    return bool(owner) and not is_gone(owner)


def _of(folder: Path, run: str) -> Outcome | None:
    found = read_outcome(folder)
    return found if found.run == run else None
