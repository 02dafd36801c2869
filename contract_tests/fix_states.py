"""Servers that refuse: because of the state they are in, or because they are full."""

from __future__ import annotations

from typing import cast

import pytest

from contract_tests.fix_cell import CELL
from harness.backends import Backend, backend
from harness.faults.states import States
from harness.servers import OneServer, Server


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run contracts in each state that the cell's server software has."""
    if "state" in metafunc.fixturenames:
        cell = metafunc.config.stash[CELL]
        names = backend(cell.backend).state_names(cell.topology)
        metafunc.parametrize("state", names)


@pytest.fixture(scope="session")
def one_server(server: Server) -> OneServer:
    """The cell's server, for contracts that need what only single servers have."""
    return cast("OneServer", server)


@pytest.fixture(scope="session")
def states(software: Backend, one_server: OneServer) -> States:
    """What can be done to the cell's server so that it refuses."""
    return software.states(one_server)


@pytest.hookimpl(trylast=True)  # after pytest has put the tests of each adapter together
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run last what makes the server forget: it may take what other contracts still look at."""
    forgetting = [
        item
        for item in items
        if any("eviction" in mark.args for mark in item.iter_markers("needs"))
    ]
    items[:] = [item for item in items if item not in forgetting] + forgetting
