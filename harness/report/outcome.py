"""reports/<cell>/outcome.json: whether a cell ran at all."""

from __future__ import annotations

import json
from pathlib import Path

NOT_RUN_EXIT = 78
"""pytest's exit code for a cell that this machine cannot run."""


RESULTS = "results.jsonl"
"""Where pytest-reportlog streams a cell's results."""


def begin(folder: Path) -> None:
    """Forget the folder's last run, so that an old result is never read as a new one."""
    for name in (RESULTS, "outcome.json", "facts.json", "server.log"):
        (folder / name).unlink(missing_ok=True)
    write_outcome(folder, "running", "it did not end")


def write_outcome(folder: Path, outcome: str, reason: str) -> None:
    """Write ``running``, ``done``, ``not run`` or ``error``, with the reason."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"outcome": outcome, "reason": reason}, indent=2)
    (folder / "outcome.json").write_text(text + "\n")


def read_outcome(folder: Path) -> tuple[str, str]:
    """Return the outcome and its reason; a folder without one is ``not run``."""
    try:
        found = json.loads((folder / "outcome.json").read_text())
        return found["outcome"], found["reason"]
    except (OSError, ValueError, KeyError):
        return "not run", "it left no report"
