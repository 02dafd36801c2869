"""Other processes that use the store under test."""

from __future__ import annotations

import gc
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress

import pytest

from contract_tests import forks, holders, workers  # noqa: F401 - imported before the fork
from contract_tests.fix_stores import _rows
from harness.crowd import processes
from harness.opening import load_factory
from harness.tables import MatrixError

PROCESSES = 3
"""More than the two that a race needs, so that a third can see what the two do."""
END_SECONDS = 2.0
POOL = pytest.StashKey[ProcessPoolExecutor]()


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Fork the processes before there is a server or a thread: they have no part of either."""
    config = session.config
    if config.option.collectonly:
        return
    for store in _rows(config):
        with suppress(MatrixError):  # the contracts tell it
            load_factory(store.factory)
    gc.freeze()  # a round over what was imported would copy all of it, in each process
    config.stash[POOL] = processes(PROCESSES)


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the processes."""
    pool = config.stash.get(POOL, None)
    if pool is None:
        return
    pool.shutdown(wait=False, cancel_futures=True)
    for process in multiprocessing.active_children():
        process.join(END_SECONDS)
        process.kill()  # only one that hangs is still there


@pytest.fixture(scope="session")
def worker_processes(pytestconfig: pytest.Config) -> ProcessPoolExecutor:
    """A pool of `PROCESSES` processes; see `harness.crowd.at_once`."""
    return pytestconfig.stash[POOL]
