"""The grid for terminals: cells down, groups of contracts across."""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.report.results import GROUPS, CellReport

MARKS = {
    "pass": ("", "green"),
    "fail": ("✗", "bold red"),
    "error": ("!", "bold red"),
    "known gap": ("~", "yellow"),
    "not run": ("?", "bold yellow"),
    "not applicable": ("–", "dim"),
}
"""A sign for each outcome, so that colour alone says nothing."""
LEGEND = "12 passed   ✗1 failed   !1 error   ~1 known gap   ?1 not run   –1 not applicable"


def print_grid(cells: list[CellReport], console: Console) -> None:
    """Print the grid, then every failure, then every cell that did not run."""
    shown = [group for group in GROUPS if any(cell.counts(group) for cell in cells)]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("cell", no_wrap=True)
    for group in shown:
        table.add_column(group, justify="right", no_wrap=True)
    table.add_column("seconds", justify="right")
    for cell in cells:
        if cell.results:
            counts = [_counts(cell.counts(group)) for group in shown]
            table.add_row(cell.cell, *counts, f"{cell.seconds:.1f}")
        else:
            table.add_row(cell.cell, Text(cell.outcome, style="bold yellow"))
    console.print(table)
    console.print(LEGEND, style="dim")
    for cell in cells:
        for result in cell.failed:
            title = f"\n{cell.cell}  {result.store}  {result.rule}  {result.outcome}"
            console.print(title, style="bold red")
            # Never cut into lines: the command that repeats it is to be copied.
            console.print(result.reason, markup=False, highlight=False, soft_wrap=True)
    for cell in cells:
        for reason, count in cell.left_out.items():
            said = f"{cell.cell}: {count} contracts did not run: {reason}"
            console.print(said, style="yellow", markup=False)
        if cell.outcome != "done":
            console.print(
                f"{cell.cell}: {cell.outcome}: {cell.reason}", style="yellow", markup=False
            )


def _counts(counts: Counter[str]) -> Text:
    parts = [
        Text(f"{sign}{counts[outcome]}", style=style)
        for outcome, (sign, style) in MARKS.items()
        if counts[outcome]
    ]
    return Text(" ").join(parts) if parts else Text("")
