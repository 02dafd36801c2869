"""What the page's script reads: every result of every cell, as small as it gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.matrix import Matrix
from harness.report.results import OUTCOMES, CellReport, Result

Places = dict[tuple[str, str], str]
"""Where the page tells of a failure, by cell and test."""
WORST_FIRST = ("fail", "error", "not run", "known gap", "pass", "not applicable")
"""Of several results the first of these stands for all."""
LONGEST = 300
"""Characters of a reason; a failure's whole text stands on the page itself."""


def island(matrix: Matrix, cells: Sequence[CellReport], places: Places) -> dict[str, Any]:
    """Return plain data. A cell's results are one character each, in the order of its shape.

    A shape lists the contract and the variant of each result; cells of a kind share one.
    """
    contracts: dict[str, Result] = {}
    for result in (result for cell in cells for result in cell.results):
        contracts.setdefault(result.name, result)
    ordered = sorted(contracts.values(), key=lambda result: result.place)
    numbers = {result.name: number for number, result in enumerate(ordered)}
    variants, reasons, shapes = _Index(), _Index(), _Index()
    found = []
    for cell in cells:
        shape = (
            tuple(numbers[result.name] for result in cell.results),
            tuple(variants.of(result.variant) for result in cell.results),
        )
        told = {
            number: reasons.of(result.reason[:LONGEST])
            for number, result in enumerate(cell.results)
            if result.reason
        }
        row = matrix.cells[cell.cell]
        found.append(
            {
                "id": cell.cell,
                "backend": row.backend,
                "done": cell.outcome == "done",
                "lanes": [lane for lane, ids in matrix.lanes.items() if cell.cell in ids],
                "shape": shapes.of(shape),
                "outcomes": "".join(str(OUTCOMES.index(r.outcome)) for r in cell.results),
                "ms": [round(result.seconds * 1000) for result in cell.results],
                "reasons": told,
                "places": {
                    number: places[cell.cell, result.test]
                    for number, result in enumerate(cell.results)
                    if (cell.cell, result.test) in places
                },
            }
        )
    return {
        "contracts": [[r.rule, r.sentence, r.name, r.group] for r in ordered],
        "variants": list(variants),
        "reasons": list(reasons),
        "shapes": list(shapes),
        "worst": [OUTCOMES.index(outcome) for outcome in WORST_FIRST],
        "cells": found,
    }


def worst(outcomes: Mapping[str, int]) -> str:
    """Return the outcome that stands for all that were counted; nothing where there are none."""
    return next((outcome for outcome in WORST_FIRST if outcomes.get(outcome)), "")


class _Index(dict[Any, int]):
    """Numbers things in the order in which they come."""

    def of(self, thing: Any) -> int:
        return self.setdefault(thing, len(self))
