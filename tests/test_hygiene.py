"""A run of a cell leaves nothing behind, however it ends, and two disturb nobody."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from harness.contracts import contract
from harness.faults.disk import fault as disk_fault
from harness.matrix import load
from harness.polling import eventually
from harness.servers.engine import sweep
from harness.servers.ownership import LABEL, owner
from tests.project import SUITE, Project
from tests.runs import PASSES, WAITS, WAITS_AMONG_FAULTS, Run
from tests.traces import traces_of

CELLS = {
    "docker": "redis7_aof_always_noeviction",
    "embedded": "postgres16_durable_lazy_read_committed",
}


pytestmark = pytest.mark.timeout(120)


@pytest.fixture(params=list(CELLS))
def client(request: pytest.FixtureRequest) -> Any:
    """A client of Docker for runs in containers, None for embedded ones."""
    return request.getfixturevalue("daemon") if request.param == "docker" else None


@pytest.fixture
def run(project: Project, client: Any) -> Run:
    """A run of one cell, with each provider."""
    return Run.of_cell(project, client, CELLS["docker" if client else "embedded"])


@pytest.fixture(params=["whole", "broken"])
def ended(request: pytest.FixtureRequest, project: Project, client: Any) -> Run:
    """A run that will be ended: while all is well, and while its disk is full and it is paused."""
    if request.param == "broken" and disk_fault():
        pytest.skip(f"{disk_fault()}")
    waits = WAITS if request.param == "whole" else WAITS_AMONG_FAULTS
    return Run.of_cell(project, client, CELLS["docker" if client else "embedded"], waits)


@contract("hyg-1")
def test_a_run_that_ends_leaves_nothing(run: Run) -> None:
    """No container, volume, process, port, memory or temporary file is left of a whole run."""
    traces = run.in_the_middle()
    run.go_on()
    printed = run.end()
    assert run.process.returncode == 0, printed
    assert not traces.left(run.project, run.client)


@contract("hyg-1")
def test_an_interrupted_run_leaves_nothing(ended: Run, client: Any) -> None:
    """Nor of one that Ctrl-C or a CI's SIGTERM ends in the middle, however impatiently."""
    traces = ended.in_the_middle()
    number = signal.SIGINT if client else signal.SIGTERM
    ended.process.send_signal(number)
    ended.process.send_signal(signal.SIGHUP)
    ended.process.send_signal(number)
    printed = ended.end()
    assert ended.process.returncode == pytest.ExitCode.INTERRUPTED, printed
    assert not traces.left(ended.project, ended.client)


@contract("hyg-1")
def test_a_killed_run_is_swept_by_the_next(ended: Run, client: Any) -> None:
    """SIGKILL, of the run or of its whole group, leaves no process; the next run sweeps."""
    traces = ended.in_the_middle()
    if client is None:
        ended.process.kill()
    else:
        os.killpg(ended.process.pid, signal.SIGKILL)
    ended.end()
    assert eventually(lambda: not ended.project.processes(), within=5), ended.project.processes()
    ended.project.write_contracts(PASSES)
    cell, provider = ("fakeredis7", "embedded") if client is None else (CELLS["docker"], "docker")
    following = ended.project.run(*SUITE, "--cell", cell, "--provider", provider)
    assert following.returncode == 0, following.stdout
    assert not traces.left(ended.project, ended.client)


@contract("hyg-1")
def test_a_run_that_is_interrupted_at_its_start_leaves_nothing(
    project: Project, daemon: Any
) -> None:
    """Whatever a run is about to create when SIGTERM comes is gone when it has ended."""
    project.write_contracts(PASSES)
    cell = CELLS["docker"]
    runs = []
    for number in range(4):
        command = (*SUITE, "--cell", cell, "--provider", "docker", f"--reports=reports{number}")
        runs.append(project.start(*command))
    time.sleep(0.6)  # until about where they ask Docker for their containers
    for run in runs:
        run.terminate()
        time.sleep(0.05)
    for run in runs:
        run.communicate(timeout=30)
    labels = [row["Labels"] for row in daemon.api.containers(all=True)]
    marks = [mark for label in labels for mark in label.values()]
    pids = {str(run.pid) for run in runs}
    assert not [mark for mark in marks if pids & set(mark.split("/"))]
    assert not list(project.temporary.iterdir())


@contract("hyg-1")
def test_sweeps_at_the_same_time_do_not_disturb_each_other(daemon: Any) -> None:
    """Parallel cells all sweep at their start; what one removes, another no longer finds."""
    host = owner().partition("/")[0]
    image = load().cell(CELLS["docker"]).image.reference("")
    for _ in range(5):
        daemon.api.create_container(image, labels={LABEL: f"{host}/999999999/1"})
    with ThreadPoolExecutor(4) as pool:
        removed = [name for names in pool.map(lambda _: sweep(), range(4)) for name in names]
    assert len(removed) == len(set(removed))
    dead = {"label": f"{LABEL}={host}/999999999/1"}
    assert eventually(lambda: not daemon.api.containers(all=True, filters=dead), within=5)


@contract("hyg-2")
def test_two_runs_side_by_side_do_not_disturb_each_other(
    project: Project, tmp_path: Path, daemon: Any
) -> None:
    """Of two runs of one cell, each keeps its server and data, whatever the other sweeps."""
    other = Project(tmp_path / "other")
    try:
        runs = [Run.of_cell(one, daemon, CELLS["docker"]) for one in (project, other)]
        before = [run.in_the_middle() for run in runs]
        swept = project.run(*SUITE[:2], "harness.servers.sweep")
        assert swept.returncode == 0, swept.stdout
        after = [traces_of(run.project, daemon) for run in runs]
        assert [one.containers for one in after] == [one.containers for one in before]
        assert not before[0].ports & before[1].ports
        for run, traces in zip(runs, before, strict=True):
            run.go_on()
            printed = run.end()
            assert run.process.returncode == 0, printed
            assert not traces.left(run.project, daemon)
    finally:
        other.close()


@contract("hyg-2")
def test_a_second_run_of_a_cell_waits_for_the_folder_of_the_first(project: Project) -> None:
    """Two runs of one cell in one checkout never write to one report at the same time."""
    first = Run(project, None, ["fakeredis7"], *SUITE, "--cell", "fakeredis7")
    assert eventually((project.folder / "started" / "fakeredis7").exists, within=20)
    results = project.reports / "fakeredis7" / "results.jsonl"
    inode = results.stat().st_ino
    second = project.start(*SUITE, "--cell", "fakeredis7")
    assert not eventually(lambda: second.poll() is not None, within=1.5)
    assert results.stat().st_ino == inode
    first.go_on()
    assert "2 passed" in first.end()
    assert "2 passed" in second.communicate(timeout=30)[0]
