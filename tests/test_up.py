"""Servers that stay up until they are told to go: `nox -s up` and `nox -s down`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from redis import Redis

from harness.contracts import contract
from harness.polling import eventually
from harness.servers import directories
from harness.servers.directories import PREFIX
from harness.servers.keeping import Kept, kept
from tests.project import SUITE, Project
from tests.runs import PASSES

pytestmark = pytest.mark.timeout(180)  # several runs in one test, on a busy machine
CELL = "redis6_aof_everysec_noeviction"
CLUSTER = "redis6_cluster"
UP = (sys.executable, "-m", "harness.servers.up")
EMBEDDED = ("--provider", "embedded")


@pytest.fixture(autouse=True)
def place(project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where this test's servers have their directories; what it leaves up is ended."""
    monkeypatch.setattr(directories, "SHARED", project.temporary)
    yield project.temporary
    for one in kept():
        one.end()


@pytest.fixture
def up(project: Project) -> Kept:
    """A cell that `nox -s up` left running."""
    said = project.run(*UP, CELL, *EMBEDDED)
    assert said.returncode == 0, said.stdout
    (one,) = kept()
    assert dict(one.urls)["all"] in said.stdout
    return one


def answers(one: Kept) -> bool:
    """Tell whether the servers of a cell that is up do."""
    with Redis.from_url(dict(one.urls)["all"]) as client:
        return bool(client.ping())


@contract("hyg-4")
def test_contracts_run_on_what_is_up_with_the_command_that_it_prints(
    project: Project, up: Kept
) -> None:
    """It outlives the command, carries the marker, is shown, and is not started twice."""
    project.write_contracts(PASSES)
    shown = project.run(*UP)
    assert f"--cell {CELL}" in shown.stdout
    assert project.run(*UP, CELL, *EMBEDDED).returncode == 0
    assert [one.pid for one in kept() if one.cell == CELL] == [up.pid]
    words = ("--cell", CELL, "--provider", "external", "--store", "RedisStore")
    ran = project.run(*SUITE, *words, MATRIX_URL=dict(up.urls)["all"])
    assert ran.returncode == 0, ran.stdout


@contract("hyg-1")
def test_no_sweep_and_no_run_touches_what_is_up(project: Project, up: Kept) -> None:
    """It belongs to a process that lives."""
    project.write_contracts(PASSES)
    project.run(*SUITE, "--cell", CELL, *EMBEDDED)
    swept = project.run(sys.executable, "-m", "harness.servers.sweep")
    assert swept.returncode == 0
    assert str(up.pid) not in swept.stdout
    assert answers(up)


@contract("hyg-1")
def test_down_removes_all_of_it(project: Project, up: Kept, place: Path) -> None:
    """Processes and directories; what is not up is told, and nothing else ends."""
    keeper = psutil.Process(up.pid)
    ours = [keeper, *keeper.children(recursive=True)]
    assert len(ours) > 1
    assert project.run(*UP, "--down", "no_such_cell").returncode == 1
    assert answers(up)
    ended = project.run(*UP, "--down", CELL)
    assert (ended.returncode, ended.stdout) == (0, f"{CELL} is down\n")
    assert not any(map(_runs, ours))
    assert not list(place.glob(f"{PREFIX}*@{up.pid}@*"))
    assert up.pid not in {one.pid for one in kept()}


@contract("hyg-1")
def test_what_was_killed_is_swept(project: Project, up: Kept, place: Path) -> None:
    """Its servers die with it, and the next sweep removes what they left."""
    servers = psutil.Process(up.pid).children(recursive=True)
    os.kill(up.pid, signal.SIGKILL)
    assert eventually(lambda: not any(map(_runs, servers)), within=10)
    assert eventually(lambda: up.pid not in {one.pid for one in kept()}, within=10)
    project.run(sys.executable, "-m", "harness.servers.sweep")
    assert not list(place.glob(f"{PREFIX}*@{up.pid}@*"))


@contract("hyg-2")
def test_its_password_is_for_its_user_alone(up: Kept, place: Path) -> None:
    """The note of what is up is private, and so is its folder."""
    (note,) = place.glob(f"{PREFIX}*@{up.pid}@*/up.json")
    assert note.stat().st_mode & 0o777 == 0o600
    assert Path(note.parent).stat().st_mode & 0o777 == 0o700
    assert _shown(up.pid) == [CELL, "embedded"]


@contract("hyg-3")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["redis9"], "there is no cell 'redis9'; there are "),
        (["fakeredis7"], "fakeredis7 is a fake, and no server to start"),
        ([CELL, "--provider", "external"], "argument --provider: invalid choice: 'external'"),
        (["redis7_none_noeviction", "--provider", "embedded"], "there is no redis-server 7.0"),
    ],
)
def test_what_cannot_start_is_told(project: Project, words: list[str], said: str) -> None:
    """The reason, and exit not 0."""
    run = project.run(*UP, *words, PATH="/usr/bin:/bin")
    assert run.returncode != 0
    assert said in run.stdout
    assert "Traceback" not in run.stdout


@contract("hyg-1")
def test_a_group_stays_up_too(project: Project) -> None:
    """With the URL of each member; `down` ends them all."""
    assert project.run(*UP, CLUSTER, *EMBEDDED).returncode == 0
    (one,) = kept()
    members = [url for name, url in one.urls if name != "all"]
    assert len(members) == 6
    for url in members:
        with Redis.from_url(url) as client:
            assert b"cluster_state:ok" in client.execute_command("CLUSTER", "INFO")
    ours = psutil.Process(one.pid).children(recursive=True)
    assert len(ours) == 6
    assert project.run(*UP, "--down", CLUSTER).returncode == 0
    assert not any(map(_runs, ours))


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _shown(pid: int) -> list[str]:
    """Return what a list of processes shows after the module's name."""
    words = psutil.Process(pid).cmdline()
    return words[words.index("harness.servers.keeping") + 1 :]
