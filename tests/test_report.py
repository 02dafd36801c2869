"""From what a real run left to the grid, summary.md and matrix.json."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.matrix import load
from harness.report.outcome import Outcome, read_outcome, write_outcome
from harness.report.results import CellReport, read_cell
from tests.project import SUITE, Project, contracts

CELL = "redis6_none_noeviction"
OF_ALL_KINDS = contracts('''
@pytest.fixture
def broken():
    raise RuntimeError("broken fixture")

@pytest.fixture
def broken_at_the_end():
    yield
    raise RuntimeError("broken at the end")

@contract("conv-1")
def test_passes(store):
    """A rule that is kept."""
    store.append_message("s", Message("user", "hello"))

@contract("conv-2")
def test_fails(store):
    """A rule that is broken.

    Whether the sum is right.
    """
    store.append_message("s", Message("user", "hello"))
    assert 1 + 1 == 3, "the sum is wrong"

@contract("ctx-1")
def test_errs_before(store, broken):
    """A rule that was not tried."""

@contract("ctx-2")
def test_errs_after(store, broken_at_the_end):
    """A rule that was tried untidily."""

@contract("ctx-3")
@needs("sweeper")
def test_does_not_apply(store):
    """A rule for other servers."""

@contract("iso-1")
def test_does_not_run(store):
    """A rule that was skipped."""
    pytest.skip("no time today")

@contract("iso-2")
def test_excuses_itself(store):
    """A rule that would like not to apply."""
    pytest.skip("not applicable: it is boring")

@contract("val-1")
@pytest.mark.xfail(reason="known: issue 7", strict=True)
def test_is_a_known_gap(store):
    """A rule that is known to be broken."""
    raise AssertionError

@contract("dur-1")
@pytest.mark.parametrize("lost", [3, 5])
def test_measures(store, measure, lost):
    """A rule with figures."""
    measure("kill", acknowledged=10, lost=lost, lost_seconds=0.25, happening=1)
''')
DIES = contracts('''
@contract("conv-1")
def test_passes(store):
    """A rule that is kept."""

@contract("conv-2")
def test_dies(store):
    """A rule that kills."""
    os.kill(os.getpid(), signal.SIGKILL)

@contract("conv-3")
def test_never_runs(store):
    """A rule that is never reached."""
''')

TAMPERS = contracts('''
from redis import Redis

@contract("conv-1")
def test_tampers(store, server):
    """A rule in the middle of which somebody changes a setting."""
    with Redis.from_url(server.url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
''')


@pytest.fixture(scope="module")
def module_project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A copy of this project for all tests of this file."""
    copy = Project(tmp_path_factory.mktemp("report") / "project")
    yield copy
    copy.close()


def run_cell(project: Project, *words: str) -> subprocess.CompletedProcess[str]:
    """Run one cell with one store."""
    command = (*SUITE, "--cell", CELL, "--provider", "embedded", "--store", "RedisStore", *words)
    return project.run(*command, MATRIX_RUN="this-run")


@pytest.fixture(scope="module")
def run(module_project: Project) -> subprocess.CompletedProcess[str]:
    """A cell in which contracts end in every way."""
    module_project.write_contracts(OF_ALL_KINDS)
    return run_cell(module_project)


@pytest.fixture(scope="module")
def cell(module_project: Project, run: subprocess.CompletedProcess[str]) -> CellReport:
    """What the report reads of it."""
    assert run.returncode == pytest.ExitCode.TESTS_FAILED
    return read_cell(module_project.reports / CELL)


@pytest.fixture(scope="module")
def merged(module_project: Project, cell: CellReport) -> subprocess.CompletedProcess[str]:
    """The report of the run."""
    assert cell.outcome == "done"
    command = (SUITE[0], "-m", "harness.report", "reports", "--run=this-run")
    return module_project.run(*command)


def test_every_kind_of_end_is_told_apart(cell: CellReport) -> None:
    """Each contract's outcome with its reason; only matrix.toml excuses a contract."""
    ends = {
        result.test.partition("[")[0]: (result.outcome, result.reason) for result in cell.results
    }
    reason = "Redis expires keys by itself"
    assert {name: outcome for name, (outcome, _) in ends.items()} == {
        "test_passes": "pass",
        "test_fails": "fail",
        "test_errs_before": "error",
        "test_errs_after": "error",
        "test_does_not_apply": "not applicable",
        "test_does_not_run": "not run",
        "test_excuses_itself": "not run",
        "test_is_a_known_gap": "known gap",
        "test_measures": "pass",
    }
    assert ends["test_does_not_apply"][1] == reason
    assert ends["test_does_not_run"][1] == "no time today"
    assert ends["test_excuses_itself"][1] == "by its own word: it is boring"
    assert ends["test_is_a_known_gap"][1] == "known: issue 7"
    assert "broken fixture" in ends["test_errs_before"][1]
    assert "broken at the end" in ends["test_errs_after"][1]
    assert {result.store for result in cell.results} == {"RedisStore"}


def test_a_failure_teaches(cell: CellReport) -> None:
    """Its text has what was expected, the rule, what to check, what was done, and the way back."""
    (failed,) = [result for result in cell.results if result.outcome == "fail"]
    for part in (
        "the sum is wrong",
        "rule         conv-2: A rule that is broken.",
        "what to check  Whether the sum is right.",
        "append_message('s', ",
        f"server log   reports/{CELL}/server.log",
        f"again        nox -s 'matrix({CELL})' -- -k 'test_fails[RedisStore]' --store RedisStore",
    ):
        assert part in failed.reason


def test_a_cell_knows_how_many_contracts_did_not_run(
    module_project: Project, cell: CellReport
) -> None:
    """outcome.json counts them, so that --strict can refuse them."""
    found = read_outcome(module_project.reports / CELL)
    assert (found.outcome, found.not_run, found.run) == ("done", 2, "this-run")
    assert cell.unreached == 0


def test_the_grid_shows_every_count_and_every_fault(
    merged: subprocess.CompletedProcess[str],
) -> None:
    """One line a cell, signs for all but passes, then failures and what did not run."""
    lines = [line.split() for line in merged.stdout.splitlines()]
    assert ["cell", "conv", "ctx", "val", "iso", "dur", "seconds"] in lines
    (row,) = [line for line in lines if line and line[0] == CELL and line[1] == "1"]
    assert row[1:-1] == ["1", "✗1", "!2", "–1", "~1", "?2", "2"]
    assert f"{CELL}  RedisStore  conv-2  fail" in merged.stdout
    assert "the sum is wrong" in merged.stdout
    assert f"{CELL}: 1 contracts did not run: no time today" in merged.stdout
    assert [
        "redis6",
        "none",
        "loses_all:",
        "8",
        "of",
        "20,",
        "up",
        "to",
        "0.25",
        "s,",
        "1×",
    ] in lines
    assert (
        "1 of 1 cells ran; contracts: 3 pass, 1 fail, 2 error, 1 not applicable, 2 not run, "
        "1 known gap" in merged.stdout
    )
    assert merged.returncode == 1


def test_the_summary_shows_losses_beside_promises(
    module_project: Project, merged: subprocess.CompletedProcess[str]
) -> None:
    """The worst measured loss of an event stands in the row of its promise."""
    assert merged.returncode == 1
    summary = (module_project.reports / "summary.md").read_text()
    assert f"| {CELL} | kill | loses_all | 5 writes, 0.25 s | 10 | 8 of 20 | 1 |" in summary
    assert "| redis6 | none | kill | loses_all | 8 of 20, up to 0.25 s | 1 | 1 |" in summary
    assert f"| {CELL} | redis6_rdb_noeviction | restart | lost | not made |" in summary
    assert "| dur-1 | test_measures | " in summary
    assert f"| {CELL} | restart |" not in summary, "what was not measured is not shown"
    assert f"| {CELL} | 1 ✗1 | !2 –1 | ~1 | ?2 | 2 |" in summary
    assert f"- {CELL}: 1 contracts: no time today" in summary
    assert "- Redis expires keys by itself" in summary
    assert f"## {CELL}: conv-2 on RedisStore: fail" in summary


def test_the_page_is_written_and_opened(
    module_project: Project, merged: subprocess.CompletedProcess[str]
) -> None:
    """index.html lies beside the others; --open shows it, and says so where there is no browser."""
    assert merged.returncode == 1
    command = (SUITE[0], "-m", "harness.report", "reports", "--run=this-run", "--open")
    opened = module_project.run(*command, BROWSER="echo opened %s")
    index = module_project.reports / "index.html"
    assert f"opened {index.resolve().as_uri()}" in opened.stdout
    page = index.read_text()
    assert "the sum is wrong" in page
    assert f'href="{CELL}/server.log"' in page
    missing = module_project.run(*command, BROWSER="/no/such/browser %s", PATH="")
    assert "no browser to open reports/index.html with" in missing.stdout
    assert missing.returncode == 1


def test_machines_read_the_same(
    module_project: Project, merged: subprocess.CompletedProcess[str]
) -> None:
    """matrix.json has totals, facts, promises, measurements and each contract."""
    assert merged.returncode == 1
    found: dict[str, Any] = json.loads((module_project.reports / "matrix.json").read_text())
    assert found["totals"] == {
        "pass": 3,
        "fail": 1,
        "error": 2,
        "known gap": 1,
        "not applicable": 1,
        "not run": 2,
    }
    cell = found["cells"][CELL]
    assert cell["outcome"] == "done"
    assert cell["promises"]["kill"] == "loses_all"
    kill = cell["measured"]["kill"]
    assert (kill["events"], kill["acknowledged"], kill["lost"]) == (1, 20, 8)
    assert (kill["outcome"], kill["worst"]["lost"]) == ("lost a tail", 5)
    assert cell["measured"]["restart"] is None
    assert cell["facts"]["version"].startswith("6.2")
    assert cell["facts"]["settings"]["maxmemory-policy"] == "noeviction"
    assert len(cell["contracts"]) == 10
    (row,) = found["sums"]
    assert (row["image"], row["values"]) == ("redis6", {"persistence": "none"})
    assert (row["event"], row["cells"], row["acknowledged"]) == ("kill", 1, 20)
    (change,) = found["changes"]
    assert (change["from"], change["to"]) == (CELL, "redis6_rdb_noeviction")
    assert (change["promise"], change["measured"]) == ("lost", {})
    assert {cost["test"] for cost in found["slowest"]} >= {"test_passes", "test_measures"}


def test_a_killed_process_and_a_cut_line_hide_nothing(
    module_project: Project, run: subprocess.CompletedProcess[str]
) -> None:
    """The contract in which a process died is an error, and so is its cell."""
    assert run.returncode == 1
    module_project.write_contracts(DIES)
    died = run_cell(module_project)
    assert died.returncode < 0
    folder = module_project.reports / CELL
    results = folder / "results.jsonl"
    text = results.read_text()
    for cut in (0, 40):  # as it was left, and with its last line cut by the death
        results.write_text(text[: len(text) - cut])
        cell = read_cell(folder)
        assert (cell.outcome, cell.reason) == (
            "running",
            "its process was killed before the cell ended",
        )
        ends = {result.test.partition("[")[0]: result.outcome for result in cell.results}
        assert ends["test_passes"] == "pass"
        assert "test_never_runs" not in ends
        if not cut:
            assert ends["test_dies"] == "error"


def test_a_server_that_is_changed_behind_our_back_is_told(
    module_project: Project, run: subprocess.CompletedProcess[str]
) -> None:
    """A cell whose server is not what its row says any more is red in the end."""
    assert run.returncode == 1
    module_project.write_contracts(TAMPERS)
    assert run_cell(module_project).returncode == 1
    (failed,) = read_cell(module_project.reports / CELL).failed
    said = "maxmemory-policy is 'allkeys-lru', not 'noeviction'"
    assert said in failed.reason


def test_contracts_that_were_never_reached_did_not_run(
    module_project: Project, run: subprocess.CompletedProcess[str]
) -> None:
    """A run that -x stops is done, and says how many contracts it left."""
    assert run.returncode == 1
    module_project.write_contracts(OF_ALL_KINDS)
    assert run_cell(module_project, "-x").returncode == 1
    cell = read_cell(module_project.reports / CELL)
    assert len(cell.results) == 2
    assert cell.counts()["not run"] == 8
    assert cell.left_out == {"the run was stopped before them": 8}


def test_a_cell_without_a_report_did_not_run(module_project: Project, tmp_path: Path) -> None:
    """Neither an empty folder, nor one with broken files, nor none at all is green."""
    reports = tmp_path / "reports"
    (reports / CELL).mkdir(parents=True)
    (reports / CELL / "outcome.json").write_text('{"outcome": "do')
    (reports / CELL / "facts.json").write_text('{"version"')
    assert read_cell(reports / CELL).outcome == "not run"
    assert read_cell(reports / "redis7_none_noeviction").outcome == "not run"
    command = (SUITE[0], "-m", "harness.report", str(reports))
    merged = module_project.run(*command)
    assert merged.returncode == 1
    assert f"{CELL}: not run: it left no report" in merged.stdout
    assert f"0 of {len(load().lanes['matrix'])} cells ran" in merged.stdout
    nothing = module_project.run(*command, "--run=another")
    assert nothing.returncode == 1
    assert "0 of 0 cells ran" in nothing.stdout


def test_a_report_of_passes_alone_is_green(
    module_project: Project, run: subprocess.CompletedProcess[str], tmp_path: Path
) -> None:
    """Exit 0 only where every cell ran and nothing failed or was left out."""
    assert run.returncode == 1
    module_project.write_contracts(OF_ALL_KINDS)
    assert run_cell(module_project, "-k", "test_passes or test_does_not_apply").returncode == 0
    reports = tmp_path / "reports"
    shutil.copytree(module_project.reports / CELL, reports / CELL)
    command = (SUITE[0], "-m", "harness.report", str(reports), "--run=this-run")
    assert module_project.run(*command).returncode == 0
    write_outcome(reports / CELL, Outcome("done", "", not_run=1, run="this-run"))
    assert module_project.run(*command).returncode == 1
    write_outcome(reports / CELL, Outcome("not run", "no server", run="this-run"))
    assert module_project.run(*command).returncode == 1
