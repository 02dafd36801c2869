"""Where the time of a run goes: contracts by the seconds that they took in all cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness.report.results import CellReport

SHOWN = 10


@dataclass(slots=True)
class Cost:
    """One contract, over its stores, its parameters and all cells. Seconds."""

    rule: str
    test: str
    seconds: float = 0.0
    setup_seconds: float = 0.0
    """Of them, those of fixtures. The first contract that uses a shared fixture pays for it."""
    worst_seconds: float = 0.0
    """In the cell where it took longest."""
    worst_cell: str = ""

    def plain(self) -> dict[str, Any]:
        """Return it as matrix.json has it."""
        found = asdict(self)
        return {key: round(v, 3) if isinstance(v, float) else v for key, v in found.items()}


def slowest(cells: Sequence[CellReport], count: int = SHOWN) -> list[Cost]:
    """Return the contracts that took longest, the longest first."""
    found: dict[str, Cost] = {}
    for cell in cells:
        in_cell: dict[str, float] = {}
        for result in cell.results:
            name = result.test.partition("[")[0]
            cost = found.setdefault(name, Cost(result.rule, name))
            cost.seconds += result.seconds
            cost.setup_seconds += result.setup_seconds
            in_cell[name] = in_cell.get(name, 0.0) + result.seconds
            if in_cell[name] > cost.worst_seconds:
                cost.worst_seconds, cost.worst_cell = in_cell[name], cell.cell
    return sorted(found.values(), key=lambda cost: cost.seconds, reverse=True)[:count]
