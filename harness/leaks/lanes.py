"""Where each lane would show a mutant's bug: one of its cells, or why it has none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

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


Chosen = Mapping[tuple[str, str], Sequence[Cell]]
"""The cells in which a mutant runs for a lane, by (mutant, lane); none where it has none."""


def choose(mutants: Iterable[Mutant], lanes: Iterable[str], matrix: Matrix) -> Chosen:
    """Choose a cell for each mutant in each lane; in the lane smoke, one of each image.

    As few cells as possible: one that serves another mutant or lane already comes first.
    """
    chosen: dict[tuple[str, str], list[Cell]] = {}
    used: dict[str, None] = {}
    for mutant in mutants:
        for lane in lanes:
            cells = {cell.id: cell for cell in cells_for(mutant, lane, matrix)}
            if lane != "smoke" or mutant.alone:
                known = [cell for cell in used if cell in cells]
                cells = {cell: cells[cell] for cell in [*known, *cells][:1]}
            chosen[mutant.name, lane] = [*cells.values()]
            used.update(dict.fromkeys(cells))
    return chosen
