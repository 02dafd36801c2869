"""A mutant as a store of matrix.toml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from harness.matrix import Store
from mutants import Mutant


def row_of(mutant: Mutant, stores: Mapping[str, Store]) -> Store:
    """Return the row of its adapter, with the mutant in its place; constructed in one way."""
    adapter = stores[mutant.adapter.__name__]
    return replace(adapter, name=mutant.name, factory=mutant.factory, ways={})
