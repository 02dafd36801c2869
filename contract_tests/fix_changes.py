"""The changes of a row's data that begin in the cell, made once for all contracts and stores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pytest

from contract_tests.changing import Before, Changed, Moves, move
from contract_tests.fix_cell import CELL, MATRIX
from contract_tests.fix_stores import EXCUSED, NOT_APPLICABLE, PATIENCE, RUN
from harness.backends import Backend, backend
from harness.changes import IMAGE, Change
from harness.faces import LoopThread
from harness.matrix import Cell, Matrix, Store
from harness.opening import Opening
from harness.providers import provide_copyable
from harness.servers import Copyable, NotRunError, Server

KINDS = {"settings_change": False, "image_change": True}
"""Fixtures of contracts, by whether their changes are of the image."""


class Made(NamedTuple):
    """A change that was made: what the store under test wrote before, and what became of it."""

    change: Change
    before: Before
    changed: Changed


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a contract of changes on each that begins in the cell, and that the contract is of."""
    for fixture, of_image in KINDS.items():
        if fixture in metafunc.fixturenames:
            found = [one for one in _changes(metafunc.config) if (one.axis == IMAGE) == of_image]
            metafunc.parametrize(
                fixture, found or [None], ids=map(_id, found) if found else ["none"], indirect=True
            )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Set a contract aside where no change of its kind begins: another cell does it for the row."""
    for item in items:
        callspec = getattr(item, "callspec", None)
        for fixture in KINDS:
            if callspec and callspec.params.get(fixture, item) is None:
                item.stash[EXCUSED] = True
                item.add_marker(pytest.mark.skip(reason=NOT_APPLICABLE + _why_none(config)))


@pytest.fixture(scope="session")
def moves(
    pytestconfig: pytest.Config,
    cell: Cell,
    server: Server,
    store_rows: list[Store],
    loop: LoopThread,
) -> Iterator[Moves]:
    """All changes that begin in the cell, made at once."""
    matrix = pytestconfig.stash[MATRIX]
    targets = {change: matrix.cells[change.target] for change in _changes(pytestconfig)}
    software: Backend = backend(cell.backend)

    def openings(url: str, row: Cell) -> dict[str, Opening]:
        options = {"timeout": PATIENCE, **row.store_options}
        return {
            store.name: Opening(
                store.factory, url, f"matrix-{RUN}-{store.name}", options, store.raw_records
            )
            for store in store_rows
        }

    def fresh(row: Cell) -> Copyable:
        return provide_copyable(row, software, server, matrix.registry)

    try:
        yield move(fresh(cell), targets, fresh, openings, software, loop, cell)
    finally:
        software.close()


@pytest.fixture
def settings_change(request: pytest.FixtureRequest, moves: Moves, store_row: Store) -> Made:
    """A change of an axis value: the same image with other settings, or another store option."""
    return _made(request.param, moves, store_row)


@pytest.fixture
def image_change(request: pytest.FixtureRequest, moves: Moves, store_row: Store) -> Made:
    """A change of the image, with settings that are the same."""
    return _made(request.param, moves, store_row)


def _made(change: Change, moves: Moves, store_row: Store) -> Made:
    changed = moves.after[change]
    if isinstance(changed, NotRunError):
        pytest.skip(str(changed))
    return Made(change, moves.before[store_row.name], changed)


def _changes(config: pytest.Config) -> Sequence[Change]:
    """Return the changes that begin in the cell."""
    matrix, cell = config.stash[MATRIX], config.stash[CELL]
    return [change for change in matrix.changes if change.origin == cell.id]


def _id(change: Change) -> str:
    return change.target + ("" if change.way == "restart" else "-by-dump")


def _why_none(config: pytest.Config) -> str:
    matrix: Matrix = config.stash[MATRIX]
    cell: Cell = config.stash[CELL]
    if "changes" in cell.lacks:
        return cell.lacks["changes"]
    origins = [matrix.cells[change.origin] for change in matrix.changes]
    elsewhere = any(
        origin.image == cell.image and origin.values.keys() == cell.values.keys()
        for origin in origins
    )
    return (
        "the first cell of the image with a row's value changes that row's data, for all others"
        if elsewhere
        else "no row of the cell has `changes` in matrix.toml"
    )
