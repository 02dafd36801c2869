"""When a session is green: only if contracts ran, to the end, and none was left out unseen."""

from __future__ import annotations

import pytest

from tests.project import Project, contracts
from tests.runs import PASSES

pytestmark = pytest.mark.timeout(120)
NOWHERE = "unix:///nowhere.sock"
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


def test_without_docker_its_cells_do_not_run(project: Project) -> None:
    """A cell that cannot run is not run, with its reason: exit 0, but 1 where CI=true."""
    project.write_contracts(PASSES)
    words = ("-s", f"matrix({DOCKER_ONLY})", "--", "--provider", "docker")
    loose = project.nox(*words, DOCKER_HOST=NOWHERE)
    reason = f"no Docker daemon answers ({NOWHERE}: No such file or directory)"
    assert loose.returncode == 0, loose.stdout
    assert f"matrix({DOCKER_ONLY}): skipped (not run: {reason})" in loose.stdout
    assert f"{DOCKER_ONLY}: not run: {reason}" in loose.stdout
    assert "0 of 1 cells ran" in loose.stdout
    strict = project.nox(*words, DOCKER_HOST=NOWHERE, CI="true")
    assert strict.returncode == 1, strict.stdout
    assert f"not run: {reason}" in strict.stdout


def test_without_docker_auto_runs_what_it_can(project: Project) -> None:
    """Servers on the machine run for real, the others are listed."""
    project.write_contracts(PASSES)
    sessions = [f"matrix({cell})" for cell in (EMBEDDED, DOCKER_ONLY)]
    run = project.nox("-s", *sessions, "--", "--provider", "auto", DOCKER_HOST=NOWHERE)
    assert run.returncode == 0, run.stdout
    assert f"{DOCKER_ONLY}: not run: there is no redis-server 7.0 on this machine" in run.stdout
    assert "1 of 2 cells ran; contracts: 2 pass" in run.stdout
    facts = (project.reports / EMBEDDED / "facts.json").read_text()
    assert '"provider": "embedded"' in facts
    assert '"version": "6.2.' in facts


def test_a_contract_that_does_not_run_is_red_where_it_must(project: Project) -> None:
    """A skipped contract is told, and fails the session with --strict."""
    project.write_contracts(SKIPS)
    loose = project.nox("-s", "fast")
    assert loose.returncode == 0, loose.stdout
    assert "fakeredis7: 2 contracts did not run: no time today" in loose.stdout
    strict = project.nox("-s", "fast", "--", "--strict")
    assert strict.returncode == 1
    assert "2 contracts did not run; the report says why" in strict.stdout


def test_a_cell_in_which_nothing_applies_is_not_green(project: Project) -> None:
    """It is not run, whatever pytest's exit code says; and an empty selection is red."""
    project.write_contracts(DOES_NOT_APPLY)
    loose = project.nox("-s", "fast")
    assert loose.returncode == 0, loose.stdout
    said = "not run: of 2 contracts none ran: they do not apply here"
    assert f"fast: skipped ({said})" in loose.stdout
    assert "0 of 1 cells ran; contracts: 2 not applicable" in loose.stdout
    strict = project.nox("-s", "fast", "--", "--strict")
    assert strict.returncode == 1
    assert said in strict.stdout
    nothing = project.nox("-s", "fast", "--", "-k", "no_such_contract")
    assert nothing.returncode == 1
    assert "fakeredis7: error: no contract matches the options" in nothing.stdout


def test_a_cell_whose_process_just_ends_is_red(project: Project) -> None:
    """Even with exit code 0."""
    project.write_contracts(ENDS_ITSELF)
    run = project.nox("-s", "fast")
    assert run.returncode == 1, run.stdout
    assert "error: its process was killed before the cell ended" in run.stdout


def test_a_store_that_runs_nowhere_is_red(project: Project) -> None:
    """A lane without a cell for it does not pass by doing nothing."""
    project.write_contracts(PASSES)
    run = project.nox("-s", "fast", "--", "--store", "PostgresStore")
    assert run.returncode == 1
    assert "no cell here runs PostgresStore" in run.stdout


def test_an_old_report_is_never_taken_for_a_new_one(project: Project) -> None:
    """A session that left none says so, though the last run was done."""
    project.write_contracts(PASSES)
    assert project.nox("-s", "fast").returncode == 0
    again = project.nox("-s", "fast", "--", "--collect-only", "--strict")
    assert again.returncode == 1, again.stdout
    assert "not run: it left no report" in again.stdout
