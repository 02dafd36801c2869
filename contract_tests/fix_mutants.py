"""Stores with known bugs, run beside the unmutated adapters: `nox -s leaks` reads the results.

Each mutant is one more store of the cell, for the contracts that must notice it and no others.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

import mutants
from contract_tests.fix_cell import CELL, MATRIX
from contract_tests.fix_stores import _row
from harness.leaks.generic import generic_mutants, own_row
from harness.leaks.rows import control_of, row_of, runs_in

CHOSEN = pytest.StashKey[list[mutants.Mutant]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what `harness.leaks` passes."""
    group = parser.getgroup("mutants", "stores with known bugs")
    group.addoption("--mutants", help="names of mutants, with commas: only what they must fail")
    group.addoption("--controls", choices=["with", "without", "only"], default="with")


def pytest_configure(config: pytest.Config) -> None:
    """Add a row for each mutant."""
    if not config.getoption("mutants"):
        return
    matrix, controls = config.stash[MATRIX], config.getoption("controls")
    own = own_row(matrix)
    known = generic_mutants(own) if own else mutants.load()
    if own:
        matrix = replace(matrix, stores={own.name: own})
    chosen = [known[name] for name in config.getoption("mutants").split(",")]
    config.stash[CHOSEN] = chosen
    rows = {one.name: row_of(one, config.stash[CELL], matrix.stores) for one in chosen}
    config.stash[MATRIX] = replace(matrix, stores={**matrix.stores, **rows})
    cell = config.stash[CELL]
    here = [one for one in chosen if runs_in(one, cell)]
    wanted = [] if controls == "without" else [control_of(one, cell) for one in here]
    wanted += [] if controls == "only" else [one.name for one in here]
    config.option.store = list(dict.fromkeys(wanted))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep what a mutant must fail, and the same contracts for its unmutated adapter."""
    if CHOSEN not in config.stash:
        return
    chosen = config.stash[CHOSEN]
    kept = [item for item in items if any(_concerns(item, one) for one in chosen)]
    shared = [item for item in kept if _shares_an_event(item)]
    if shared and config.getoption("controls") == "with":
        raise pytest.UsageError(f"all stores share the event of {shared[0].name}: run it alone")
    left = [item for item in items if item not in set(kept)]
    config.hook.pytest_deselected(items=left)
    items[:] = kept


def _shares_an_event(item: pytest.Item) -> bool:
    fixtures = getattr(item, "fixturenames", ())
    return "openings" in fixtures and "planted" not in fixtures


def _concerns(item: pytest.Item, mutant: mutants.Mutant) -> bool:
    row = _row(item)
    rules = [mark.args[0] for mark in item.iter_markers("contract")]
    return (
        row is not None
        and row.name in {mutant.name, control_of(mutant, item.config.stash[CELL])}
        and getattr(item, "originalname", "") == mutant.test
        and mutant.rule in rules
    )
