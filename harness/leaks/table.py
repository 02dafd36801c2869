"""What each lane caught and what it let through, as data and as the terminal shows it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.leaks.lanes import Chosen, why_none
from harness.leaks.verdicts import Verdict, missing
from harness.matrix import Matrix
from mutants import Mutant


@dataclass(frozen=True, slots=True)
class Row:
    """One mutant in one lane."""

    mutant: str
    lane: str
    cells: tuple[str, ...]
    outcome: str
    """``caught`` or ``leaked``."""
    reason: str = ""
    """Of a leak: why, and what it takes to see it."""


def rows(
    mutants: Iterable[Mutant],
    lanes: Sequence[str],
    cells: Chosen,
    found: Iterable[Verdict],
    matrix: Matrix,
) -> list[Row]:
    """Return what became of each mutant in each lane: caught only if in all of its cells."""
    judged = {(verdict.store, verdict.cell): verdict for verdict in found}
    table = []
    for mutant in mutants:
        gone = missing(mutant)
        for lane in lanes:
            names = tuple(cell.id for cell in cells[mutant.name, lane])
            verdicts = [judged.get((mutant.name, name)) for name in names]
            why = [said for verdict in verdicts if (said := _leak(verdict))]
            if gone or not names:
                why = [gone or why_none(mutant, lane, matrix)]
            outcome = "leaked" if why else "caught"
            table.append(Row(mutant.name, lane, names, outcome, why[0] if why else ""))
    return table


def _leak(verdict: Verdict | None) -> str:
    """Return why a mutant leaked in a cell, nothing where it was caught."""
    if verdict is None:
        return "it did not run"
    if verdict.outcome == "caught":
        return ""
    if verdict.outcome in {"wrong message", "not run"}:
        return f"{verdict.outcome} in {verdict.cell}: {verdict.reason}"
    return verdict.reason


def rate(table: Iterable[Row], lane: str) -> tuple[int, int]:
    """Return how many mutants leaked through a lane, and of how many."""
    own = [row for row in table if row.lane == lane]
    return sum(row.outcome == "leaked" for row in own), len(own)


def leaks_by_reason(table: Iterable[Row], lane: str) -> dict[str, list[str]]:
    """Return the names of the mutants that leaked through a lane, by what it takes."""
    reasons: dict[str, list[str]] = {}
    for row in table:
        if (row.lane, row.outcome) == (lane, "leaked"):
            reasons.setdefault(row.reason, []).append(row.mutant)
    return reasons


def lines(table: Sequence[Row], lanes: Sequence[str]) -> list[str]:
    """Return the terminal's lines: the leaks of each lane with their reasons, then the rates."""
    shown = []
    for lane in lanes:
        leaked, _ = rate(table, lane)
        shown += [f"{lane}: {leaked or 'nothing'} leaked"]
        for reason, names in leaks_by_reason(table, lane).items():
            shown += [f"  {', '.join(names)}", f"      {reason}"]
    shown += ["", f"{'lane':<10} {'mutants':>8} {'caught':>8} {'leaked':>8} {'leak rate':>10}"]
    for lane in lanes:
        leaked, every = rate(table, lane)
        shown.append(
            f"{lane:<10} {every:>8} {every - leaked:>8} {leaked:>8} {leaked / (every or 1):>10.1%}"
        )
    return shown
