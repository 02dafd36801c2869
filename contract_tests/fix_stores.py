"""The stores under test: every contract runs once for each adapter of the cell."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Protocol
from uuid import uuid4

import pytest

from contract_tests.fix_cell import CELL, MATRIX, SERVER
from harness.backends import Backend
from harness.faces import LoopThread
from harness.inspectors import Inspector
from harness.inspectors.through import inspector_of
from harness.matrix import Cell, Store
from harness.opening import Opening, choose_stores
from harness.recording import Recording
from harness.servers import Server
from stores.interface import FEATURES, MemoryStore

NOT_APPLICABLE = "not applicable: "
EXCUSED = pytest.StashKey[bool]()
"""Of a contract that the cell's row makes not applicable."""
RUN = uuid4().hex[:12]
"""Part of every namespace: two runs on one server never meet."""
PATIENCE = 15.0
"""Seconds: the timeout of stores whose contract is not about time. Busy disks may take 5 s."""
BY_URL = "url"
"""The way to construct a store that every contract takes, unless it names another."""
_numbers = itertools.count(1)


class Openings(Protocol):
    """Gives openings by store name, each in a namespace that is named for a purpose."""

    def __call__(self, purpose: str, **options: Any) -> dict[str, Opening]: ...


class OpenStore(Protocol):
    """Opens another store of the same adapter, closed after the test."""

    def __call__(
        self,
        *,
        namespace: str | None = None,
        url: str | None = None,
        way: str = BY_URL,
        **options: Any,
    ) -> MemoryStore: ...


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each contract on each adapter."""
    if "store_row" in metafunc.fixturenames:
        rows = _rows(metafunc.config)
        metafunc.parametrize("store_row", rows, ids=[row.name for row in rows], scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Set aside what the cell's row makes not applicable, and what this machine cannot do."""
    cell, server = config.stash[CELL], config.stash.get(SERVER, None)
    for item in items:
        for mark in item.iter_markers("needs"):
            for capability in mark.args:
                reason = _lacking(cell, _row(item), capability)
                if reason:
                    item.stash[EXCUSED] = True
                    item.add_marker(pytest.mark.skip(reason=NOT_APPLICABLE + reason))
                elif server and (reason := server.cannot(capability)):
                    item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def namespace() -> str:
    """A namespace that no other test, run or application uses."""
    return f"matrix-{RUN}-{next(_numbers)}"


@pytest.fixture(scope="session")
def loop() -> Iterator[LoopThread]:
    """The event loop on which async stores run."""
    thread = LoopThread()
    yield thread
    thread.stop()


@pytest.fixture
def opening(store_row: Store, cell: Cell, server: Server, namespace: str) -> Opening:
    """What it takes to open the store, here or in another process."""
    return _opening(store_row, cell, server, namespace, {})


@pytest.fixture(scope="session")
def store_rows(pytestconfig: pytest.Config) -> list[Store]:
    """The rows of all the run's stores, for what a cell does once for all of them."""
    return _rows(pytestconfig)


@pytest.fixture(scope="session")
def openings(store_rows: list[Store], cell: Cell, server: Server) -> Openings:
    """Openings of all the run's stores."""

    def of(purpose: str, **options: Any) -> dict[str, Opening]:
        return {
            row.name: _opening(row, cell, server, f"matrix-{RUN}-{purpose}-{row.name}", options)
            for row in store_rows
        }

    return of


@pytest.fixture
def ways(store_row: Store, cell: Cell) -> list[str]:
    """The ways to construct the store, for `open_store`."""
    return [BY_URL, *store_row.ways_in(cell)]


@pytest.fixture
def recording(request: pytest.FixtureRequest) -> Recording:
    """The calls that a failure's message shows."""
    recording = Recording()
    request.node.recording = recording
    return recording


@pytest.fixture
def open_store(
    store_row: Store, opening: Opening, loop: LoopThread, recording: Recording
) -> Iterator[OpenStore]:
    """Open stores of the adapter under test; all are closed at the end."""
    opened: list[MemoryStore] = []

    def open_one(
        *,
        namespace: str | None = None,
        url: str | None = None,
        way: str = BY_URL,
        **options: Any,
    ) -> MemoryStore:
        one = Opening(
            opening.factory if way == BY_URL else store_row.ways[way],
            url or opening.url,
            namespace or opening.namespace,
            {**opening.options, **options},
            opening.raw_records,
        )
        store = one.open(loop)
        opened.append(store)
        return recording.of(store)

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: OpenStore) -> MemoryStore:
    """A store of the adapter under test, without TTL."""
    return open_store()


@pytest.fixture
def inspect(
    opening: Opening, software: Backend, loop: LoopThread
) -> Iterator[Callable[[str], Inspector]]:
    """Open raw access to a namespace; all that is in it is deleted at the end."""
    opened: list[Inspector] = []

    def open_one(namespace: str) -> Inspector:
        opened.append(inspector_of(replace(opening, namespace=namespace), software, loop))
        return opened[-1]

    yield open_one
    for inspector in opened:
        inspector.clear()
        inspector.close()


@pytest.fixture
def inspector(inspect: Callable[[str], Inspector], namespace: str) -> Inspector:
    """Raw access to the test's namespace, with no store code between."""
    return inspect(namespace)


@pytest.fixture(autouse=True)
def _clean(request: pytest.FixtureRequest) -> None:
    """Let every test with a store leave its namespace empty."""
    if "opening" in request.fixturenames and SERVER in request.config.stash:
        request.getfixturevalue("inspector")


def _rows(config: pytest.Config) -> list[Store]:
    """Return the stores to run, by the cell's backend and ``--store``."""
    stores = config.stash[MATRIX].stores_of(config.stash[CELL])
    return choose_stores(stores, config.getoption("store"))


def _opening(
    row: Store, cell: Cell, server: Server, namespace: str, options: Mapping[str, Any]
) -> Opening:
    options = {"timeout": PATIENCE, **cell.store_options, **options}
    return Opening(row.factory, server.url, namespace, options, row.raw_records)


def _row(item: pytest.Item) -> Store | None:
    assert isinstance(item, pytest.Function)
    callspec = getattr(item, "callspec", None)
    return callspec.params.get("store_row") if callspec else None


def _lacking(cell: Cell, row: Store | None, capability: str) -> str | None:
    """Return why the capability is missing, None where it is there."""
    if capability in FEATURES:
        offers = row is None or row.features is None or capability in row.features
        return None if offers else f"the store does not offer {capability}"
    if capability == "raw_records" and row and not row.raw_records:
        return "the harness does not know how the store lays out its records"
    of_store = row.lacks.get(capability) if row else None
    return of_store or cell.lacking(capability)
