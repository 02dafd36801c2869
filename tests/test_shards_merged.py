"""Machines that know nothing of each other run a matrix together, and one report has it all."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.project import SUITE, Project
from tests.runs import PASSES

pytestmark = pytest.mark.timeout(180)
CELLS = ["redis6_none_allkeys_lru", "redis6_none_noeviction"]
LANE = f'[lanes]\ntwo = {{ cells = ["{CELLS[0]}", "{CELLS[1]}"] }}'


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project whose two shards ran, each as if it were on a machine of its own."""
    project = Project(tmp_path_factory.mktemp("shards") / "project")
    project.write_contracts(PASSES)
    project.change_matrix("[lanes]", LANE)
    for number in (1, 2):
        words = ("--lane", "two", "--shard", f"{number}/2", "--reports", f"machine{number}")
        shard = project.nox("-s", "matrix", "--", *words, "--provider", "embedded", "--strict")
        assert shard.returncode == 0, shard.stdout
        assert "1 of 1 cells ran" in shard.stdout
        copy_reports(project, number)
    yield project
    project.close()


def copy_reports(project: Project, number: int) -> None:
    """Take a machine's reports into the folder of all."""
    folder = project.folder / f"machine{number}"
    shutil.copytree(folder, project.folder / "merged", dirs_exist_ok=True)


def test_the_reports_of_all_shards_make_one(machines: Project) -> None:
    """No cell is missing; each ran on one machine."""
    found = machines.nox("-s", "report", "--", "--lane", "two", "--reports", "merged")
    assert found.returncode == 0, found.stdout
    assert "2 of 2 cells ran" in found.stdout
    cells = json.loads((machines.folder / "merged" / "matrix.json").read_text())["cells"]
    assert {cell: one["outcome"] for cell, one in cells.items()} == dict.fromkeys(CELLS, "done")


def test_a_shard_that_never_reported_is_missed(machines: Project) -> None:
    """Its cells did not run: a machine that was lost is never taken for a green one."""
    found = merge(machines, "machine1")
    assert found.returncode == 1
    assert "1 of 2 cells ran" in found.stdout
    assert "not run: it left no report" in found.stdout


def test_what_cells_took_is_recorded_when_asked(machines: Project) -> None:
    """`--record` keeps it beside the code, for the cells that ran."""
    path = machines.folder / "harness" / "seconds.json"
    before = json.loads(path.read_text())
    merge(machines, "merged")
    assert json.loads(path.read_text()) == before
    merge(machines, "merged", "--record")
    after = json.loads(path.read_text())
    assert [cell for cell in after if after[cell] != before[cell]] == CELLS
    assert all(0 < after[cell] < before[cell] for cell in CELLS)


def merge(project: Project, folder: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the report as `nox -s report` does."""
    return project.run(SUITE[0], "-m", "harness.report", folder, "--lane", "two", *words)
