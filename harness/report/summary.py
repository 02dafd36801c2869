"""reports/summary.md: what ran, what was lost beside what was promised, and what went wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from harness.matrix import Matrix
from harness.report.discrimination import pairs
from harness.report.grid import LEGEND, MARKS
from harness.report.measured import labels, measured, sums
from harness.report.merge import totals
from harness.report.moved import moved
from harness.report.results import GROUPS, OUTCOMES, CellReport
from harness.report.slowest import slowest


def summary(matrix: Matrix, cells: Sequence[CellReport]) -> str:
    """Return the page."""
    counts = totals(cells)
    lines = [
        "# Which configurations keep an agent's memory",
        "",
        f"{sum(cell.outcome == 'done' for cell in cells)} of {len(cells)} cells ran: "
        + ", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES)
        + ".",
        *_grid(cells),
        *_sums(matrix, cells),
        *_measured(matrix, cells),
        *_alike(matrix, cells),
        *_changes(matrix, cells),
        *_slowest(cells),
    ]
    for cell in cells:
        for result in cell.failed:
            heading = f"## {cell.cell}: {result.rule} on {result.store}: {result.outcome}"
            lines += ["", heading, "", "```", result.reason, "```"]
    lines += _list(
        "What did not run",
        (
            f"{cell.cell}: {count} contracts: {reason}"
            for cell in cells
            for reason, count in cell.left_out.items()
        ),
    )
    reasons = sorted({r.reason for c in cells for r in c.results if r.outcome == "not applicable"})
    lines += _list("Why some rules do not apply", reasons)
    return "\n".join(lines) + "\n"


def _grid(cells: Sequence[CellReport]) -> Iterator[str]:
    shown = [group for group in GROUPS if any(cell.counts(group) for cell in cells)]
    yield from ("", _row(["cell", *shown]), _row(["---"] * (len(shown) + 1)))
    for cell in cells:
        if cell.results:
            yield _row([cell.cell, *(_counts(cell.counts(group)) for group in shown)])
        else:
            yield _row([cell.cell, f"{cell.outcome}: {cell.reason}".replace("\n", " ")])
    yield from ("", f"In the grid: {LEGEND}.")


def _sums(matrix: Matrix, cells: Sequence[CellReport]) -> list[str]:
    heading = ["image", "row", "event", "promised", "lost", "events", "cells"]
    rows = [
        [
            one.image,
            one.row,
            one.event,
            one.measured.promise,
            one.measured.said(),
            str(one.measured.events),
            str(one.cells),
        ]
        for one in sums(matrix, cells)
    ]
    return _table("Promised and measured, all cells of a row together", heading, rows)


def _measured(matrix: Matrix, cells: Sequence[CellReport]) -> list[str]:
    heading = ["cell", "event", "promised", "worst loss measured", "of acknowledged writes"]
    heading += ["lost in all", "events"]
    rows = []
    for cell in cells:
        for event in labels([cell]):
            one = measured(matrix, cell, event)
            if one is not None:
                worst = one.worst
                lost = f"{worst.get('lost', 0)} writes, {worst.get('lost_seconds', 0):.2f} s"
                of = str(worst.get("acknowledged", ""))
                share = f"{one.total('lost')} of {one.total('acknowledged')}"
                rows.append([cell.cell, event, one.promise, lost, of, share, str(one.events)])
    return _table("Promised and measured", heading, rows)


def _alike(matrix: Matrix, cells: Sequence[CellReport]) -> list[str]:
    rows = [
        [pair.axis, " and ".join(pair.values), str(pair.pairs), pair.needed()]
        for pair in pairs(matrix, cells)
        if not pair.discriminated
    ]
    heading = ["axis", "values", "pairs of cells compared", "what would tell them apart"]
    return _table("Rows that no event told apart", heading, rows)


def _changes(matrix: Matrix, cells: Sequence[CellReport]) -> list[str]:
    heading = ["from", "to", "by", "its row says", "data"]
    rows = [
        [
            one.change.origin,
            one.change.target,
            one.change.way,
            one.change.fate,
            one.outcome.replace("|", "\\|"),
        ]
        for one in moved(matrix, cells)
    ]
    return _table("Another policy or image on existing data", heading, rows)


def _slowest(cells: Sequence[CellReport]) -> list[str]:
    heading = ["rule", "contract", "seconds in all cells", "of them setup", "worst cell"]
    rows = [
        [
            cost.rule,
            cost.test,
            f"{cost.seconds:.1f}",
            f"{cost.setup_seconds:.1f}",
            f"{cost.worst_cell}: {cost.worst_seconds:.1f} s",
        ]
        for cost in slowest(cells)
    ]
    return _table("The slowest contracts", heading, rows)


def _table(title: str, heading: list[str], rows: list[list[str]]) -> list[str]:
    """Return a section with a table; nothing where it has no rows."""
    if not rows:
        return []
    lines = ["", f"## {title}", "", _row(heading), _row(["---"] * len(heading))]
    return [*lines, *(_row(row) for row in rows)]


def _list(title: str, entries: Iterable[str]) -> list[str]:
    found = [f"- {entry}" for entry in entries]
    return ["", f"## {title}", "", *found] if found else []


def _counts(counts: Counter[str]) -> str:
    return " ".join(f"{sign}{counts[o]}" for o, (sign, _) in MARKS.items() if counts[o])


def _row(values: list[str]) -> str:
    return f"| {' | '.join(values)} |"
