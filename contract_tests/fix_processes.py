"""Other processes that use the store under test."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import pytest

from contract_tests.fix_cell import MATRIX
from harness.crowd import processes
from harness.matrix import Cell, Matrix

PROCESSES = 3
"""More than the two that a race needs, so that a third can see what the two do."""
END_SECONDS = 2.0


@pytest.fixture(scope="session")
def worker_processes(pytestconfig: pytest.Config, cell: Cell) -> Iterator[ProcessPoolExecutor]:
    """A pool of `PROCESSES` processes, started at its first use; see `harness.crowd.at_once`."""
    matrix: Matrix = pytestconfig.stash[MATRIX]
    factories = [store.factory for store in matrix.stores_of(cell)]
    pool = processes(PROCESSES, preload=[name.partition(":")[0] for name in factories])
    yield pool
    pool.shutdown(wait=False, cancel_futures=True)
    for process in multiprocessing.active_children():
        process.join(END_SECONDS)
        process.kill()  # only one that hangs is still there
