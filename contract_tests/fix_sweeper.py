"""The sweeper of the cells whose row has one: it runs beside the contracts, as in production."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import pytest

from harness.backends import Backend
from harness.matrix import Cell
from harness.servers import Server


class Sweeping:
    """The cell's sweeper, running but in a block of `dead`."""

    def __init__(self, software: Backend, server: Server, every: float) -> None:
        self._software = software
        self._server = server
        self._every = every
        self._running = ExitStack()

    def start(self) -> None:
        """Sweep until `stop`."""
        self._running.enter_context(self._software.sweeper(self._server.url, self._every))

    def stop(self) -> None:
        """Stop sweeping. Doing so twice is fine."""
        self._running.close()

    @contextmanager
    def dead(self) -> Iterator[None]:
        """Sweep nothing in the block."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def without_pause(
        self, *, batch: int, url: str | None = None
    ) -> AbstractContextManager[object]:
        """Sweep all the time in the block, so many sessions at once."""
        return self._software.sweeper(url or self._server.url, every=0.001, batch=batch)


@pytest.fixture(scope="session", autouse=True)
def _sweeper(cell: Cell, software: Backend, server: Server) -> Iterator[Sweeping | None]:
    if cell.sweep_every is None:
        yield None
        return
    sweeping = Sweeping(software, server, cell.sweep_every)
    sweeping.start()
    yield sweeping
    sweeping.stop()


@pytest.fixture
def sweeping(_sweeper: Sweeping | None) -> Sweeping:
    """The cell's sweeper, to stop it for a while; for contracts that need ``sweeper``."""
    assert _sweeper, "the cell's row has no sweep_every: the contract needs `sweeper`"
    return _sweeper
