"""Where each lane would show a mutant's bug: one of its cells, or why it has none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from harness.leaks.rows import runs_in
from harness.matrix import Cell, Matrix
from mutants import Mutant

LANES = ("mock", "fast", "smoke", "pairwise", "matrix")
"""The lanes that are compared, from what teams begin with to what finds most."""


def cells_for(mutant: Mutant, lane: str, matrix: Matrix) -> list[Cell]:
    """Return the lane's cells that can show the bug."""
    return [
        cell
        for cell in matrix.lane(lane)
        if runs_in(mutant, cell) and (cell.image.fake or _has(cell, mutant.values))
    ]


def _has(cell: Cell, values: Mapping[str, str]) -> bool:
    return all(cell.values.get(axis) == value for axis, value in values.items())


def why_none(mutant: Mutant, lane: str, matrix: Matrix) -> str:
    """Return what the lane would need."""
    if not any(runs_in(mutant, cell) for cell in matrix.lane(lane)):
        return f"needs a {mutant.backend.capitalize()}: this lane has none"
    wanted = ", ".join(f"{axis} {value}" for axis, value in mutant.values.items())
    return f"needs a server with {wanted}: this lane has none"


def choose(
    mutants: Iterable[Mutant], lanes: Iterable[str], matrix: Matrix
) -> dict[tuple[str, str], Cell | None]:
    """Return the cell that shows each (mutant, lane), None where the lane has none.

    As few cells as possible: one that serves another mutant or lane already comes first.
    """
    chosen: dict[tuple[str, str], Cell | None] = {}
    used: dict[str, None] = {}
    wanted = list(mutants)
    for lane in lanes:
        for mutant in sorted(wanted, key=lambda one: not one.values):
            cells: Mapping[str, Cell] = {c.id: c for c in cells_for(mutant, lane, matrix)}
            known = [cell for cell in used if cell in cells]
            cell = next((cells[name] for name in [*known, *cells]), None)
            chosen[mutant.name, lane] = cell
            if cell:
                used[cell.id] = None
    return chosen
