"""For terminals: what was lost beside what was promised, and which rows nothing told apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from harness.matrix import Matrix
from harness.report.discrimination import pairs
from harness.report.measured import labels, sums
from harness.report.moved import NOT_MADE, moved
from harness.report.results import CellReport


def print_losses(matrix: Matrix, cells: Sequence[CellReport], console: Console) -> None:
    """Print a line for each row of an image, one for all changes, and the rows that are alike."""
    found = sums(matrix, cells)
    shown = labels(cells)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("writes lost, by promise", no_wrap=True)
    for event in shown:
        table.add_column(event.replace("_", " "))
    rows: dict[str, dict[str, str]] = {}
    for one in found:
        said = f"{one.measured.promise}: {one.measured.said()}, {one.measured.events}×"
        rows.setdefault(f"{one.image} {one.row}", {})[one.event] = said
    for row, events in rows.items():
        table.add_row(row, *(events.get(event, "") for event in shown))
    if rows:
        console.print(table)
    fates = Counter(one.summary for one in moved(matrix, cells))
    if set(fates) - {NOT_MADE}:
        said = ", ".join(f"{count} {fate}" for fate, count in fates.items())
        console.print(f"another policy or image on existing data: {said}")
    alike: dict[tuple[str, str], list[str]] = {}
    for pair in pairs(matrix, cells):
        if not pair.discriminated:
            alike.setdefault((pair.axis, pair.needed()), []).append("/".join(pair.values))
    for (axis, needed), names in alike.items():
        said = f"not discriminated: {axis} {', '.join(names)}; needed: {needed}"
        console.print(said, style="yellow", markup=False)
