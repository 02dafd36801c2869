"""What a failing contract leaves: enough for the page to show what happened, and nothing secret."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.report.failure import Failure
from harness.report.results import CellReport, read_cell
from harness.report.timeline import pictures
from tests.project import SUITE, Project, contracts

CELL = "redis6_aof_always_noeviction"
PASSWORD = "YbBTOXw-hVpaxEOMsMNrBw"
FAILING = contracts(f'''
from harness.crowd import together

@contract("conv-1")
def test_compares(store):
    """A rule that two values break."""
    assert store.get_history("s") == ["redis://:{PASSWORD}@host/0"]

@contract("conv-2")
def test_compares_before(store):
    """A rule that an error breaks, after a comparison that was expected to fail."""
    with pytest.raises(AssertionError):
        assert store.get_history("s") == ["other"]
    raise RuntimeError("another error")

@contract("con-1")
def test_is_judged(store, history, judge):
    """A rule that a history breaks."""
    with history.append("writer", ["a"]) as call:
        call.acknowledged([1])
    history.final([])
    judge(history)

@contract("con-4")
def test_is_done_at_once(store):
    """A rule that several threads break."""
    jobs = [lambda name=name: store.append_message("s", Message("user", name)) for name in "ab"]
    together(jobs)
    pytest.fail("broken at once")

@contract("dur-1")
@pytest.mark.parametrize("event", ["restart"], scope="session")
def test_is_about_an_outage(outages, event):
    """A rule that an outage breaks."""
    assert not outages

@contract("dur-2")
@pytest.mark.parametrize("event", ["restart"], scope="session")
def test_is_about_the_same_outage(outages, event):
    """Another rule that it breaks."""
    assert not outages
''')


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, CellReport]]:
    """A cell in which contracts fail in each of these ways, and its folder."""
    project = Project(tmp_path_factory.mktemp("failures") / "project")
    project.write_contracts(FAILING)
    run = project.run(
        *(*SUITE, "--cell", CELL, "--provider", "embedded", "--store", "RedisStore", "--seed", "7")
    )
    assert run.returncode == pytest.ExitCode.TESTS_FAILED, run.stdout
    folder = project.reports / CELL
    yield folder, read_cell(folder)
    project.close()


def failure(cell: CellReport, name: str) -> Failure:
    """Return what a contract left."""
    (found,) = [result.failure for result in cell.results if result.name == name]
    assert found is not None
    return found


def test_both_sides_of_a_comparison_are_kept(cell: tuple[Path, CellReport]) -> None:
    """Of the one that failed the contract; of an earlier one, nothing."""
    found = failure(cell[1], "test_compares")
    assert (found.expected, found.got) == ("['redis://:***@host/0']", "[]")
    assert "-k 'test_compares[RedisStore]' --store RedisStore" in found.again
    other = failure(cell[1], "test_compares_before")
    assert (other.expected, other.got) == ("", "")


def test_a_history_is_kept_with_its_time(cell: tuple[Path, CellReport]) -> None:
    """One that was judged, and the outages that contracts share, once."""
    folder, report = cell
    (judged,) = failure(report, "test_is_judged").histories
    shared = failure(report, "test_is_about_an_outage").histories
    assert failure(report, "test_is_about_the_same_outage").histories == shared
    assert sorted(path.name for path in (folder / "histories").iterdir()) == sorted(
        Path(name).name for name in (judged, *shared)
    )
    result = next(one for one in report.results if one.name == "test_is_judged")
    kept = json.loads((folder / judged).read_text())
    began = (kept["operations"][0]["invoked"] + kept["unix_ns"]) / 1e9
    assert result.began - 1 < began < result.began + result.seconds + 1
    (picture,) = pictures(json.loads((folder / name).read_text()) for name in shared)
    assert picture.event is not None
    assert picture.event[0] == "restart"
    assert len(picture.lanes) == 2
    assert all(count > 0 for count in map(int, re.findall(r"of (\d+)", str(picture.notes))))


def test_calls_at_once_are_kept_with_their_threads(cell: tuple[Path, CellReport]) -> None:
    """Where several threads made them; of one thread the text is enough."""
    calls = failure(cell[1], "test_is_done_at_once").calls
    assert len({worker for worker, *_ in calls}) == 2
    assert {name for _, name, *_ in calls} == {"append_message"}
    assert failure(cell[1], "test_compares").calls == []


def test_no_password_is_kept(cell: tuple[Path, CellReport]) -> None:
    """Not in the streamed results either."""
    assert PASSWORD not in (cell[0] / "results.jsonl").read_text()
