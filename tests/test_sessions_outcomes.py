"""When a session is green: only if contracts ran, to the end, and none was left out unseen."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from harness.report.outcome import Outcome, write_outcome
from tests.project import Project, contracts
from tests.runs import PASSES

pytestmark = pytest.mark.timeout(180)  # the first test waits for all runs
NOWHERE = "unix:///nowhere.sock"
NO_REDIS = 'image = "redis:7.99", version = "7.99"'
NO_DOCKER = f"no Docker daemon answers ({NOWHERE}: No such file or directory)"
NONE_APPLIES = "not run: of 2 contracts none ran: they do not apply here"
EMBEDDED, DOCKER_ONLY = "redis6_none_noeviction", "redis7_none_noeviction"
SKIPS = (
    PASSES
    + """
@contract("conv-2")
def test_skips(store):
    pytest.skip("no time today")
"""
)
DOES_NOT_APPLY = contracts('''
@contract("conv-1")
@needs("sweeper")
def test_does_not_apply(store):
    """A rule for other servers."""
''')
ENDS_ITSELF = contracts("""
@contract("conv-1")
def test_ends_itself(store):
    os._exit(0)
""")


@dataclass
class Run:
    """A nox run in a project of its own, and what came of it."""

    words: str
    contracts: str = PASSES
    environment: dict[str, str] = field(default_factory=dict)
    exit: int = -1
    printed: str = ""
    reports: Path = Path()

    def __call__(self, project: Project) -> None:
        """Run, beside an old report, on a machine that surely has no Redis 7."""
        project.write_contracts(self.contracts)
        project.change_matrix('image = "redis:7.0", version = "7.0"', NO_REDIS)
        old = project.reports / "fakeredis7"
        old.mkdir(parents=True)
        write_outcome(old, Outcome("done", "", run="an old run"))
        done = project.nox("-s", *self.words.split(), **self.environment)
        self.exit, self.printed, self.reports = done.returncode, done.stdout, project.reports


def without_docker(words: str, **environment: str) -> Run:
    """Return a run on a machine without Docker."""
    return Run(words, environment={"DOCKER_HOST": NOWHERE, **environment})


RUNS = {
    "no docker": without_docker(f"matrix({DOCKER_ONLY}) -- --provider docker"),
    "no docker, CI": without_docker(f"matrix({DOCKER_ONLY}) -- --provider docker", CI="true"),
    "no docker, auto": without_docker(f"matrix({EMBEDDED}) matrix({DOCKER_ONLY})"),
    "skip": Run("fast", SKIPS),
    "skip, strict": Run("fast -- --strict", SKIPS),
    "none applies": Run("fast", DOES_NOT_APPLY),
    "none applies, strict": Run("fast -- --strict", DOES_NOT_APPLY),
    "none matches": Run("fast -- -k no_such_contract"),
    "ends itself": Run("fast", ENDS_ITSELF),
    "no cell": Run("fast -- --store PostgresStore"),
    "collects only": Run("fast -- --collect-only --strict"),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Run]]:
    """All runs, done; two at a time."""
    projects = [Project(tmp_path_factory.mktemp("run") / "project") for _ in RUNS]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda run, project: run(project), RUNS.values(), projects))
    yield RUNS
    for project in projects:
        project.close()


def junit(run: Run, cell: str) -> dict[str, tuple[str, str]]:
    """Return what a cell's JUnit file says of those of its test cases that did not pass."""
    root = ET.parse(run.reports / cell / "junit.xml").getroot()  # noqa: S314 - ours
    return {
        case.get("name", ""): (end.tag, end.get("message", ""))
        for case in root.iter("testcase")
        for end in case
    }


def test_without_docker_its_cells_do_not_run(runs: dict[str, Run]) -> None:
    """A cell that cannot run is not run, with its reason: exit 0, but 1 where CI=true."""
    loose, strict = runs["no docker"], runs["no docker, CI"]
    assert loose.exit == 0, loose.printed
    assert f"matrix({DOCKER_ONLY}): skipped (not run: {NO_DOCKER})" in loose.printed
    assert f"{DOCKER_ONLY}: not run: {NO_DOCKER}" in loose.printed
    assert "0 of 1 cells ran" in loose.printed
    assert strict.exit == 1, strict.printed
    assert f"not run: {NO_DOCKER}" in strict.printed
    assert junit(strict, DOCKER_ONLY) == {"the cell": ("skipped", NO_DOCKER)}


def test_without_docker_auto_runs_what_it_can(runs: dict[str, Run]) -> None:
    """Servers on the machine run for real, the others are listed."""
    run = runs["no docker, auto"]
    assert run.exit == 0, run.printed
    assert f"{DOCKER_ONLY}: not run: there is no redis-server 7.99 on this machine" in run.printed
    assert "1 of 2 cells ran; contracts: 2 pass" in run.printed
    facts = (run.reports / EMBEDDED / "facts.json").read_text()
    assert '"provider": "embedded"' in facts
    assert '"version": "6.2.' in facts


def test_a_contract_that_does_not_run_is_red_where_it_must(runs: dict[str, Run]) -> None:
    """A skipped contract is told, and fails the session with --strict."""
    loose, strict = runs["skip"], runs["skip, strict"]
    assert loose.exit == 0, loose.printed
    assert "fakeredis7: 2 contracts did not run: no time today" in loose.printed
    assert strict.exit == 1, strict.printed
    assert "2 contracts did not run; the report says why" in strict.printed


def test_a_cell_in_which_nothing_applies_is_not_green(runs: dict[str, Run]) -> None:
    """It is not run, whatever pytest's exit code says."""
    loose, strict = runs["none applies"], runs["none applies, strict"]
    assert loose.exit == 0, loose.printed
    assert f"fast: skipped ({NONE_APPLIES})" in loose.printed
    assert "0 of 1 cells ran; contracts: 2 not applicable" in loose.printed
    assert strict.exit == 1, strict.printed
    assert NONE_APPLIES in strict.printed


def test_an_empty_selection_is_red(runs: dict[str, Run]) -> None:
    """A slip in -k does not pass by doing nothing, nor a store that no cell runs."""
    assert runs["none matches"].exit == 1
    assert "fakeredis7: error: no contract matches the options" in runs["none matches"].printed
    assert runs["no cell"].exit == 1
    assert "no cell here runs PostgresStore" in runs["no cell"].printed


def test_a_cell_whose_process_just_ends_is_red(runs: dict[str, Run]) -> None:
    """Even with exit code 0."""
    run = runs["ends itself"]
    assert run.exit == 1, run.printed
    assert "error: its process was killed before the cell ended" in run.printed
    killed = ("error", "its process was killed before the cell ended")
    assert junit(run, "fakeredis7") == {"the cell": killed}


def test_an_old_report_is_never_taken_for_a_new_one(runs: dict[str, Run]) -> None:
    """A session that left none says so: --collect-only runs nothing, and is not green."""
    run = runs["collects only"]
    assert run.exit == 1, run.printed
    assert "not run: it left no report" in run.printed
