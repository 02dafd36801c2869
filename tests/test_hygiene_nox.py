"""A run of nox leaves nothing behind, however it ends."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from harness.contracts import contract
from harness.polling import eventually
from tests.project import NOX, Project
from tests.runs import Run

CELLS = ["redis6_none_noeviction", "redis7_none_noeviction"]
INTERRUPTED = 130
pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def run(project: Project, daemon: Any) -> Run:
    """A nox run of two cells, in parallel."""
    sessions = [f"matrix({cell})" for cell in CELLS]
    return Run(project, daemon, CELLS, *NOX, "-s", *sessions, "--", "--provider", "docker")


@contract("hyg-1")
def test_interrupting_nox_leaves_nothing(run: Run) -> None:
    """Ctrl-C ends the cells of a parallel run with their servers, and the report says so."""
    traces = run.in_the_middle()
    run.process.send_signal(signal.SIGINT)
    printed = run.end()
    assert run.process.returncode == INTERRUPTED, printed
    assert not traces.left(run.project, run.client)
    for cell in CELLS:
        assert f"{cell}: error: interrupted" in printed
    assert "0 of 2 cells ran" in printed
    assert "Traceback" not in printed


@contract("hyg-1")
def test_what_a_killed_nox_started_ends_itself(run: Run) -> None:
    """SIGKILL of nox ends its cells too; they clean up, and wait for no next run."""
    traces = run.in_the_middle()
    run.process.kill()
    run.end()
    assert eventually(lambda: not run.project.processes(), within=10), run.project.processes()
    nox_s_own = {f"file {path.name}" for path in run.project.temporary.glob("tmp*")}
    assert set(traces.left(run.project, run.client)) <= nox_s_own


@contract("hyg-1")
def test_a_killed_cell_is_red_and_swept_when_nox_ends(run: Run) -> None:
    """SIGKILL of one cell's process fails its session; its container is gone when nox ends."""
    traces = run.in_the_middle()
    cells = [p for p in run.project.processes() if f"--cell {CELLS[0]}" in " ".join(p.cmdline())]
    os.kill(min(process.pid for process in cells), signal.SIGKILL)
    run.go_on()
    printed = run.end()
    assert run.process.returncode == 1, printed
    assert f"{CELLS[0]}: error: its process was killed before the cell ended" in printed
    assert "1 of 2 cells ran" in printed
    assert not traces.left(run.project, run.client)
