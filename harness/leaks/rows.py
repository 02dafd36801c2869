"""A mutant as a store of matrix.toml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from harness.matrix import Cell, Store
from mutants import Mutant

BY_REPLICAS = "replica_reads"
"""The way to construct a store whose reads may be answered by replicas."""
MOCKED = "Mocked"
"""Before the names of the adapters' rows in the cell whose client is a mock."""


def runs_in(mutant: Mutant, cell: Cell) -> bool:
    """Tell whether the mutant's adapter runs in the cell."""
    return cell.backend in {mutant.backend, "mock"}


def control_of(mutant: Mutant, cell: Cell) -> str:
    """Return the name of the unmutated adapter in the cell."""
    return f"{MOCKED if cell.backend == 'mock' else ''}{mutant.control}"


def row_of(mutant: Mutant, cell: Cell, stores: Mapping[str, Store]) -> Store:
    """Return the row of its adapter, with the mutant in its place.

    It is constructed in one way, and with replicas where the adapter takes them as an option.
    """
    factory = mutant.factory
    if cell.backend == "mock":
        factory = f"harness.mocked.stores:STORES.{mutant.name}"
    row = stores[control_of(mutant, cell)]
    ways = {way: factory for way in row.ways if way == BY_REPLICAS}
    return replace(row, name=mutant.name, factory=factory, ways=ways)
