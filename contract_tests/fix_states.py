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
        metafunc.parametrize("state", names, scope="session")


@pytest.fixture(scope="session")
def one_server(server: Server) -> OneServer:
    """The cell's server, for contracts that need what only single servers have."""
    return cast("OneServer", server)


@pytest.fixture(scope="session")
def states(software: Backend, one_server: OneServer) -> States:
    """What can be done to the cell's server so that it refuses."""
    return software.states(one_server)
