"""Long histories, planted once a cell: every adapter reads the same layout."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from contract_tests.fix_stores import Openings
from harness.backends import Backend
from harness.faces import LoopThread
from harness.inspectors import Inspector
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
    openings: Openings, server: Server, software: Backend, loop: LoopThread
) -> Iterator[Planted]:
    """A short and a long history."""
    opening = next(iter(openings("planted").values()))
    inspector = software.inspector(server.url, opening.namespace)
    with opening.open(loop) as store:
        store.append_message("a record", Message("user", "planted"))
    record = inspector.messages("a record")[0].record
    for count in (SHORT, LONG):
        inspector.plant_history(f"{count}", count, record)
    yield Planted(opening.namespace, inspector)
    inspector.clear()
    inspector.close()


@pytest.hookimpl(trylast=True)  # after pytest has put the tests of each adapter together
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what shares planted data last, in one go: a restart would load it again each time."""
    sharing = [item for item in items if "planted" in getattr(item, "fixturenames", ())]
    items[:] = [item for item in items if item not in sharing] + sharing
