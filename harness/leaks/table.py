"""What a lane caught and what it let through, as data and as the terminal shows it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.leaks.lanes import why_none
from harness.leaks.verdicts import Verdict, missing
from harness.matrix import Cell, Matrix
from mutants import Mutant

BLAMED = {"leaked", "wrong message", "not run"}


@dataclass(frozen=True, slots=True)
class Row:
    """One mutant in one lane."""

    mutant: str
    lane: str
    cell: str
    outcome: str
    """``caught`` or ``leaked``."""
    reason: str = ""
    """Of a leak: why, and what it takes to see it."""


def rows(
    mutants: Iterable[Mutant],
    lanes: Sequence[str],
    cells: Mapping[tuple[str, str], Cell | None],
    found: Iterable[Verdict],
    matrix: Matrix,
) -> list[Row]:
    """Return what became of each mutant in each lane."""
    judged = {(verdict.store, verdict.cell): verdict for verdict in found}
    table = []
    for mutant in mutants:
        gone = missing(mutant)
        for lane in lanes:
            cell = cells[mutant.name, lane]
            if gone or cell is None:
                why = gone or why_none(mutant, lane, matrix)
                table.append(Row(mutant.name, lane, "", "leaked", why))
                continue
            verdict = judged.get((mutant.name, cell.id))
            if verdict and verdict.outcome == "caught":
                table.append(Row(mutant.name, lane, cell.id, "caught"))
            else:
                why = verdict.reason if verdict else "it did not run"
                if verdict and verdict.outcome in {"wrong message", "not run"}:
                    why = f"{verdict.outcome}: {why}"
                table.append(Row(mutant.name, lane, cell.id, "leaked", why))
    return table


def rate(table: Iterable[Row], lane: str) -> tuple[int, int]:
    """Return how many mutants leaked through a lane, and of how many."""
    own = [row for row in table if row.lane == lane]
    return sum(row.outcome == "leaked" for row in own), len(own)


def lines(table: Sequence[Row], lanes: Sequence[str]) -> list[str]:
    """Return the terminal's lines: the leaks of each lane with their reasons, then the rates."""
    shown = []
    for lane in lanes:
        leaks = [row for row in table if row.lane == lane and row.outcome == "leaked"]
        shown += [f"{lane}: {len(leaks)} leaked" if leaks else f"{lane}: nothing leaked"]
        reasons: dict[str, list[str]] = {}
        for row in leaks:
            reasons.setdefault(row.reason, []).append(row.mutant)
        for reason, names in reasons.items():
            shown += [f"  {', '.join(names)}", f"      {reason}"]
    shown += ["", f"{'lane':<10} {'mutants':>8} {'caught':>8} {'leaked':>8} {'leak rate':>10}"]
    for lane in lanes:
        leaked, every = rate(table, lane)
        shown.append(
            f"{lane:<10} {every:>8} {every - leaked:>8} {leaked:>8} {leaked / (every or 1):>10.1%}"
        )
    return shown
