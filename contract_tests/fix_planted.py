"""Long histories, planted once a cell: every adapter reads the same layout."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from contract_tests.fix_cell import MATRIX
from contract_tests.fix_stores import RUN
from harness.backends import Backend
from harness.faces import LoopThread
from harness.inspectors import Inspector
from harness.matrix import Cell
from harness.opening import Opening, choose_stores
from harness.servers import Server
from stores.interface import Message

SHORT, LONG = 10, 100_000


@dataclass(frozen=True, slots=True)
class Planted:
    """A namespace with a session of `SHORT` and one of `LONG` messages, named by their number."""

    namespace: str
    inspector: Inspector


@pytest.fixture(scope="module")
def planted(
    pytestconfig: pytest.Config, cell: Cell, server: Server, software: Backend, loop: LoopThread
) -> Iterator[Planted]:
    """A short and a long history."""
    namespace = f"matrix-{RUN}-planted"
    stores = pytestconfig.stash[MATRIX].stores_of(cell)
    row = choose_stores(stores, pytestconfig.getoption("store"))[0]
    inspector = software.inspector(server.url, namespace)
    with Opening(row.factory, server.url, namespace, dict(cell.store_options)).open(loop) as store:
        store.append_message("a record", Message("user", "planted"))
    record = inspector.messages("a record")[0].record
    for count in (SHORT, LONG):
        inspector.plant_history(f"{count}", count, record)
    yield Planted(namespace, inspector)
    inspector.clear()
    inspector.close()


@pytest.hookimpl(trylast=True)  # after pytest has put the tests of each adapter together
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what shares planted data last, in one go: a restart would load it again each time."""
    sharing = [item for item in items if "planted" in getattr(item, "fixturenames", ())]
    items[:] = [item for item in items if item not in sharing] + sharing
