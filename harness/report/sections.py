"""The tables that summary.md and the page share: a title, a heading, and rows of text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.matrix import Matrix
from harness.report.discrimination import pairs
from harness.report.measured import labels, measured, sums
from harness.report.moved import moved
from harness.report.results import CellReport
from harness.report.slowest import slowest


@dataclass(frozen=True, slots=True)
class Section:
    """One table."""

    title: str
    heading: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


Maker = Callable[[Matrix, Sequence[CellReport]], Section]


def losses(matrix: Matrix, cells: Sequence[CellReport]) -> Section:
    """Return what was lost by all cells of a row together."""
    return Section(
        "Promised and measured, all cells of a row together",
        ("image", "row", "event", "promised", "lost", "events", "cells"),
        [
            (
                one.image,
                one.row,
                one.event,
                one.measured.promise,
                one.measured.said(),
                str(one.measured.events),
                str(one.cells),
            )
            for one in sums(matrix, cells)
        ],
    )


def losses_by_cell(matrix: Matrix, cells: Sequence[CellReport]) -> Section:
    """Return the worst loss of each event in each cell."""
    rows = []
    for cell in cells:
        for event in labels([cell]):
            one = measured(matrix, cell, event)
            if one is not None:
                worst = one.worst
                lost = f"{worst.get('lost', 0)} writes, {worst.get('lost_seconds', 0):.2f} s"
                of = str(worst.get("acknowledged", ""))
                share = f"{one.total('lost')} of {one.total('acknowledged')}"
                rows.append((cell.cell, event, one.promise, lost, of, share, str(one.events)))
    heading = ("cell", "event", "promised", "worst loss measured", "of acknowledged writes")
    return Section("Promised and measured", (*heading, "lost in all", "events"), rows)


def alike(matrix: Matrix, cells: Sequence[CellReport]) -> Section:
    """Return the rows of the matrix that show nothing which their neighbours do not."""
    return Section(
        "Rows that no event told apart",
        ("axis", "values", "pairs of cells compared", "what would tell them apart"),
        [
            (pair.axis, " and ".join(pair.values), str(pair.pairs), pair.needed())
            for pair in pairs(matrix, cells)
            if not pair.discriminated
        ],
    )


def changes(matrix: Matrix, cells: Sequence[CellReport]) -> Section:
    """Return what became of data that was brought to another row."""
    return Section(
        "Another policy or image on existing data",
        ("from", "to", "by", "its row says", "data"),
        [
            (
                one.change.origin,
                one.change.target,
                one.change.way,
                one.change.fate,
                one.outcome,
            )
            for one in moved(matrix, cells)
        ],
    )


def durations(_: Matrix, cells: Sequence[CellReport]) -> Section:
    """Return the contracts that took longest."""
    return Section(
        "The slowest contracts",
        ("rule", "contract", "seconds in all cells", "of them setup", "worst cell"),
        [
            (
                cost.rule,
                cost.test,
                f"{cost.seconds:.1f}",
                f"{cost.setup_seconds:.1f}",
                f"{cost.worst_cell}: {cost.worst_seconds:.1f} s",
            )
            for cost in slowest(cells)
        ],
    )


def not_run(_: Matrix, cells: Sequence[CellReport]) -> Section:
    """Return the contracts and the cells that did not run, with their reasons."""
    rows = [(cell.cell, "the whole cell", cell.reason) for cell in cells if cell.outcome != "done"]
    for cell in cells:
        left = cell.left_out.items()
        rows += [(cell.cell, f"{count} contracts", reason) for reason, count in left]
    return Section("What did not run", ("cell", "what", "reason"), rows)


def not_applicable(_: Matrix, cells: Sequence[CellReport]) -> Section:
    """Return why rules do not apply: how often, and in how many cells."""
    where: dict[str, list[str]] = {}
    for cell in cells:
        for result in cell.results:
            if result.outcome == "not applicable":
                where.setdefault(result.reason, []).append(cell.cell)
    rows = [
        (reason, str(len(found)), str(len(set(found)))) for reason, found in sorted(where.items())
    ]
    return Section("Why some rules do not apply", ("reason", "contracts", "cells"), rows)
