"""What each client passed: a table for the terminal, and reports/clients/summary.md."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from python_discovery import get_interpreter
from rich.console import Console
from rich.table import Table

from harness.clients import FACTS, FOLDER, Client, interpreter
from harness.matrix import Matrix, load
from harness.report.results import CellReport, read_cell

COLUMNS = ("client", "Python", "redis", "psycopg", "fakeredis", "cells", "contracts", "seconds")


@dataclass(frozen=True, slots=True)
class ClientReport:
    """What a client left; without cells it did not run, for a reason."""

    id: str
    reason: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    cells: list[CellReport] = field(default_factory=list)

    @property
    def outcome(self) -> str:
        """``pass``, ``fail`` or ``not run``."""
        if any(cell.failed or cell.outcome == "error" for cell in self.cells):
            return "fail"
        ran = [cell for cell in self.cells if cell.outcome == "done"]
        return "pass" if ran and len(ran) == len(self.cells) else "not run"

    @property
    def row(self) -> list[str]:
        """The columns of the table."""
        if not self.facts:
            return [self.id, *("–" for _ in COLUMNS[2:]), f"not run: {self.reason}"]
        versions = self.facts["versions"]
        ran = sum(cell.outcome == "done" for cell in self.cells)
        passed = sum(cell.counts()["pass"] for cell in self.cells)
        failed = sum(len(cell.failed) for cell in self.cells)
        return [
            self.id,
            self.facts["python"],
            *(versions[name] for name in ("redis", "psycopg", "fakeredis")),
            f"{ran} of {len(self.cells)}",
            f"{passed} pass" + f", {failed} fail" * bool(failed),
            f"{sum(cell.seconds for cell in self.cells):.0f}",
        ]

    @property
    def faults(self) -> list[str]:
        """What failed, and which cells did not run, a line each."""
        failed = [
            f"{self.id}  {cell.cell}  {result.test}  {result.outcome}: "
            f"{(result.reason.splitlines() or [''])[0]}"
            for cell in self.cells
            for result in cell.failed
        ]
        return failed + [
            f"{self.id}  {cell.cell}: {cell.outcome}: {cell.reason}"
            for cell in self.cells
            if cell.outcome != "done"
        ]


def read_clients(matrix: Matrix, reports: Path, run: str | None) -> list[ClientReport]:
    """Return what the clients left, of a nox run or of the last one of each.

    Those whose Python is not here are among them.
    """
    found = [_read(client, reports / FOLDER / client.id, run) for client in matrix.clients.values()]
    return [report for report in found if report is not None]


def main() -> int:
    """Print the table and write the page; 1 if a client failed, or none ran."""
    parser = argparse.ArgumentParser(prog="python -m harness.clients.summary", description=__doc__)
    parser.add_argument("reports", type=Path, nargs="?", default=Path("reports"))
    parser.add_argument("--run", help="only the clients of this nox run")
    parser.add_argument("--client", action="append", help="only this client; repeatable")
    options = parser.parse_args()
    found = read_clients(load(), options.reports, options.run)
    clients = [one for one in found if not options.client or one.id in options.client]
    table = Table(*COLUMNS, box=None, pad_edge=False, header_style="bold")
    for client in clients:
        table.add_row(*client.row)
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    console.print(table)
    for client in clients:
        for fault in client.faults:
            console.print(fault, style="bold red", markup=False)
    page = options.reports / FOLDER / "summary.md"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(markdown(clients), encoding="utf-8")
    outcomes = {client.outcome for client in clients}
    return 0 if "pass" in outcomes and "fail" not in outcomes else 1


def markdown(clients: list[ClientReport]) -> str:
    """Return the table and the faults as Markdown."""
    rows = [COLUMNS, ["---"] * len(COLUMNS), *(client.row for client in clients)]
    lines = ["# Clients", "", *(f"| {' | '.join(row)} |" for row in rows)]
    faults = [fault for client in clients for fault in client.faults]
    return "\n".join([*lines, *([""] if faults else []), *(f"- {fault}" for fault in faults), ""])


def _read(client: Client, folder: Path, run: str | None) -> ClientReport | None:
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        facts = {}
    if facts and run in {None, facts["run"]}:
        return ClientReport(
            client.id, facts=facts, cells=[read_cell(folder / cell) for cell in facts["cells"]]
        )
    if client.python and get_interpreter(interpreter(client.python)) is None:
        return ClientReport(client.id, f"there is no Python {client.python} here")
    return None


if __name__ == "__main__":
    sys.exit(main())
