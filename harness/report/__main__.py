"""Merge what the cells left into the grid, summary.md, matrix.json and index.html."""

from __future__ import annotations

import argparse
import json
import os
import sys
import webbrowser
from pathlib import Path

from rich.console import Console

from harness.durations import record
from harness.matrix import load
from harness.report.annotations import error_lines
from harness.report.grid import print_grid
from harness.report.losses import print_losses
from harness.report.merge import machine_readable, read_run, totals
from harness.report.outcome import read_outcome
from harness.report.page import page
from harness.report.settle import settle
from harness.report.summary import summary


def main() -> int:
    """Print the grid, write the reports; 1 if anything failed or did not run."""
    matrix = load()
    parser = argparse.ArgumentParser(
        prog="nox -s report --",
        description=__doc__,
        epilog="Exit code 1 says that a contract failed, or that a cell or a contract did not run.",
    )
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    parser.add_argument("folder", type=Path, nargs="?", help="where the reports are; reports/")
    parser.add_argument("--run", help="only the cells of this nox run, once they have ended")
    parser.add_argument(
        "--lane", default="matrix", choices=[*matrix.lanes], help="the cells that should be there"
    )
    parser.add_argument("--strict", action="store_true", help="of the run: everything must run")
    parser.add_argument(
        "--record",
        action="store_true",
        help="keep how long the cells took, all contracts of each, to balance shards by it",
    )
    parser.add_argument("--reports", type=Path, default=Path("reports"), help="the same")
    options = parser.parse_args()
    options.reports = options.folder or options.reports
    if options.run:
        settle(options.reports, options.run)
    cells = read_run(matrix, options.reports, options.run, options.lane)
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    print_grid(cells, console)
    print_losses(matrix, cells, console)
    counts = totals(cells)
    ran = sum(cell.outcome == "done" for cell in cells)
    console.print(
        f"{ran} of {len(cells)} cells ran; contracts: "
        + ", ".join(f"{count} {outcome}" for outcome, count in counts.items()),
        style="bold",
    )
    options.reports.mkdir(parents=True, exist_ok=True)
    (options.reports / "summary.md").write_text(summary(matrix, cells))
    text = json.dumps(machine_readable(matrix, cells), indent=1, default=str)
    (options.reports / "matrix.json").write_text(text + "\n")
    if options.record:
        done = [cell.cell for cell in cells if cell.outcome == "done"]
        record({cell: read_outcome(options.reports / cell).seconds for cell in done}, matrix.cells)
    if options.run and os.environ.get("GITHUB_ACTIONS") == "true":
        print(*error_lines(cells, strict=options.strict), sep="\n")
    index = options.reports / "index.html"
    index.write_text(page(matrix, cells, options.reports), encoding="utf-8")
    if options.open and not webbrowser.open(index.resolve().as_uri()):
        print(f"no browser to open {index} with", file=sys.stderr)
    failed = counts["fail"] + counts["error"] + counts["not run"]
    return 1 if failed or ran < len(cells) or not ran else 0


if __name__ == "__main__":
    sys.exit(main())
