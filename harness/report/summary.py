"""reports/summary.md: what ran, what was lost beside what was promised, and what went wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from harness.matrix import Matrix
from harness.report.grid import LEGEND, MARKS
from harness.report.merge import totals
from harness.report.results import GROUPS, OUTCOMES, CellReport
from harness.report.sections import (
    Section,
    alike,
    changes,
    durations,
    losses,
    losses_by_cell,
)


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
    ]
    for section in (losses, losses_by_cell, alike, changes, durations):
        lines += _table(section(matrix, cells))
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


def _table(section: Section) -> list[str]:
    """Return a section with a table; nothing where it has no rows."""
    if not section.rows:
        return []
    lines = ["", f"## {section.title}", "", _row(section.heading)]
    lines.append(_row(["---"] * len(section.heading)))
    return [*lines, *(_row([text.replace("|", "\\|") for text in row]) for row in section.rows)]


def _list(title: str, entries: Iterable[str]) -> list[str]:
    found = [f"- {entry}" for entry in entries]
    return ["", f"## {title}", "", *found] if found else []


def _counts(counts: Counter[str]) -> str:
    return " ".join(f"{sign}{counts[o]}" for o, (sign, _) in MARKS.items() if counts[o])


def _row(values: Sequence[str]) -> str:
    return f"| {' | '.join(values)} |"
