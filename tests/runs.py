"""Runs of cells that wait in the middle of a contract, to be ended there."""

from __future__ import annotations

import subprocess
from typing import Any

from harness.polling import eventually
from tests.project import SUITE, Project, contracts
from tests.traces import Traces, traces_of

WAITS = contracts("""
@contract("con-2")
def test_waits(store, cell, worker_processes):
    store.append_message("s", Message("user", "hello"))
    for _ in range(3):
        worker_processes.submit(os.getpid).result()
    Path("started", cell.id).touch()
    while not Path("go").exists():
        time.sleep(0.01)
    assert [stored.content for stored in store.get_history("s")] == ["hello"]
""")
WAITS_AMONG_FAULTS = contracts("""
from harness.faults.freeze import paused

@contract("con-2")
@needs("disk_pressure")
def test_waits(store, cell, one_server, worker_processes):
    store.append_message("s", Message("user", "hello"))
    for _ in range(3):
        worker_processes.submit(os.getpid).result()
    with one_server.disk.full(), paused(one_server.pid):
        Path("started", cell.id).touch()
        while not Path("go").exists():
            time.sleep(0.01)
    assert [stored.content for stored in store.get_history("s")] == ["hello"]
""")
PASSES = contracts("""
@contract("conv-1")
def test_passes(store):
    store.append_message("s", Message("user", "hello"))
""")
MIDDLE_SECONDS = 40


class Run:
    """A command that runs cells, each of which waits in its only contract."""

    def __init__(
        self,
        project: Project,
        client: Any,
        cells: list[str],
        *command: str,
        waits: str = WAITS,
    ) -> None:
        project.write_contracts(waits)
        self.project = project
        self.client = client
        self._cells = cells
        self._started = project.folder / "started"
        self._started.mkdir()
        self.process: subprocess.Popen[str] = project.start(*command)

    @classmethod
    def of_cell(cls, project: Project, client: Any, cell: str, waits: str = WAITS) -> Run:
        """Run one cell: in a container if there is a client of Docker, else as processes."""
        command = (*SUITE, "--cell", cell, "--provider", "docker" if client else "embedded")
        return cls(project, client, [cell], *command, waits=waits)

    def in_the_middle(self) -> Traces:
        """Wait until all cells are in their contract; return what is on the machine then."""
        assert eventually(self._waits, within=MIDDLE_SECONDS), "it did not get to the contract"
        assert self.process.poll() is None, self.end()
        traces = traces_of(self.project, self.client)
        found = traces.containers if self.client else traces.servers
        assert len(found) >= len(self._cells)
        assert len(traces.ports) >= len(self._cells)
        return traces

    def go_on(self) -> None:
        """Let the contracts end."""
        (self.project.folder / "go").touch()

    def end(self) -> str:
        """Wait for the end; return what was printed."""
        return self.process.communicate(timeout=MIDDLE_SECONDS)[0]

    def _waits(self) -> bool:
        return self.process.poll() is not None or all(
            (self._started / cell).exists() for cell in self._cells
        )
