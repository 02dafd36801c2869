"""Running one subject: each of its cells, several times, as a user would from the command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from harness.docs import ROOT
from harness.matrix import Cell, Store
from harness.orphans import PARENT_VARIABLE
from harness.own_stores import Environment
from harness.report.results import CellReport, read_cell

LONGEST_SECONDS = 600
NOX = (os.environ.get("NOX", sys.executable), "-m", "nox")


class NoRunError(Exception):
    """A subject could not be run at all. The text is one line."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a subject in a cell."""

    subject: Store
    cell: Cell
    number: int

    def command(self, reports: Path, provider: str | None) -> list[str]:
        """Return the command that runs it. Its number is its seed."""
        words = ["-s", f"matrix({self.cell.id})", "--", "--store", self.subject.name]
        words += ["--reports", str(self.folder(reports)), "--seed", str(self.number)]
        return [*words, *(["--provider", provider] if provider else [])]

    def folder(self, reports: Path) -> Path:
        """Return where its report goes."""
        return reports / "subjects" / f"{self.subject.name}-{self.number}"


def run(one: Run, reports: Path, provider: str | None) -> CellReport:
    """Run a subject in a cell; raise NoRunError where its contracts did not run."""
    command = [*NOX, *one.command(reports, provider)]
    folder = one.folder(reports) / one.cell.id
    shutil.rmtree(folder, ignore_errors=True)  # a run that fails at once must not show the last one
    log = reports / "subjects" / f"{one.subject.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as printed, suppress(subprocess.TimeoutExpired):
        subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, PARENT_VARIABLE: str(os.getpid())},
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            timeout=LONGEST_SECONDS,
            check=False,
        )
    report = read_cell(folder)
    if report.outcome != "done":
        why = report.reason.partition("\n")[0]
        raise NoRunError(f"{one.subject.name} in {one.cell.id}: {report.outcome}: {why}; see {log}")
    return report


def versions(subject: Store) -> dict[str, str]:
    """Return the versions of a subject's own packages, as installed for it."""
    python = ROOT / ".nox" / Environment([*subject.requires], [], []).name / "bin" / "python"
    names = [requirement.partition("==")[0].partition("[")[0] for requirement in subject.requires]
    ask = (
        "import importlib.metadata as m, json, sys;"
        "print(json.dumps({name: m.version(name) for name in sys.argv[1:]}))"
    )
    printed = subprocess.run(
        [python, "-c", ask, *names], check=True, capture_output=True, text=True
    ).stdout
    found: dict[str, str] = json.loads(printed)
    return found


def runs_of(subject: Store, cells: Sequence[Cell], tries: int) -> list[Run]:
    """Return all runs of a subject: so many in each cell of its backend."""
    return [
        Run(subject, cell, number)
        for number in range(1, tries + 1)
        for cell in cells
        if cell.backend == subject.backend
    ]
