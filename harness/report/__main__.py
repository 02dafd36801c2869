"""`nox -s report`: merge what the cells left in reports/."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from rich.console import Console

from harness.durations import record
from harness.matrix import load
from harness.report.annotations import error_lines
from harness.report.grid import print_grid
from harness.report.losses import print_losses
from harness.report.merge import machine_readable, read_run, totals
from harness.report.outcome import read_outcome
from harness.report.settle import settle
from harness.report.summary import summary


def main() -> int:
    """Print the grid, write summary.md and matrix.json; 1 if anything failed or did not run."""
    matrix = load()
    parser = argparse.ArgumentParser(prog="nox -s report --", description=__doc__)
    parser.add_argument("reports", type=Path, nargs="?", default=Path("reports"), help="the folder")
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
    parser.add_argument("--reports", type=Path, default=argparse.SUPPRESS, help="the same")
    options = parser.parse_args()
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
    failed = counts["fail"] + counts["error"] + counts["not run"]
    return 1 if failed or ran < len(cells) or not ran else 0


if __name__ == "__main__":
    sys.exit(main())
