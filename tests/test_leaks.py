"""The leaks: what counts as caught, which cells are chosen, and what the pages must name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import mutants
from harness.docs import ROOT, contracts
from harness.leaks.generic import BACKEND, STORE, generic_mutants, own_row
from harness.leaks.jobs import Job, Ran, jobs_of
from harness.leaks.lanes import choose
from harness.leaks.ledger import verdict_of
from harness.leaks.page import faults
from harness.leaks.table import rate, rows
from harness.leaks.verdicts import verdicts
from harness.matrix import load
from harness.report.outcome import RESULTS
from harness.tables import MatrixError

KNOWN = mutants.load()
ONE = KNOWN["save_drops_the_ttl"]


def result(outcome: str, message: str, store: str = ONE.name) -> dict[str, Any]:
    """Return a line of a results file."""
    longrepr: Any = {"reprcrash": {"message": message}, "reprtraceback": {"reprentries": []}}
    if outcome == "skipped":
        longrepr = ["file", 1, f"Skipped: {message}"]
    return {
        "$report_type": "TestReport",
        "nodeid": f"contract_tests/test_expiry.py::{ONE.test}[{store}]",
        "outcome": outcome,
        "user_properties": [["contract", ONE.rule], ["store", store]],
        "longrepr": longrepr,
    }


def judged(tmp_path: Path, *lines: dict[str, Any]) -> str:
    """Return what becomes of the mutant that left these results."""
    (tmp_path / RESULTS).write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = verdicts([Ran(Job("redis6_none_noeviction", (ONE,), "without"), tmp_path, 0.1, "")])
    assert [verdict.store for verdict in found] == [ONE.name]
    return found[0].outcome


def test_a_mutant_is_caught_for_the_right_reason_only(tmp_path: Path) -> None:
    """Red with the pinned words is caught; green, red with other words and unrun are told apart."""
    assert judged(tmp_path, result("failed", f"AssertionError: 's' {ONE.says}")) == "caught"
    assert judged(tmp_path, result("failed", "AssertionError: something else")) == "wrong message"
    assert judged(tmp_path, result("passed", "")) == "leaked"
    assert judged(tmp_path, result("skipped", "not applicable: no TTL")) == "not applicable"
    assert judged(tmp_path, result("skipped", "no disk here")) == "not run"
    assert judged(tmp_path) == "not run"


def test_a_mutant_without_its_contract_leaks_everywhere() -> None:
    """Removing a contract from the suite names the mutants that nobody catches any more."""
    orphan = replace(ONE, test="test_that_was_removed")
    matrix, lanes = load(), ["fast", "matrix"]
    table = rows([orphan], lanes, choose([orphan], lanes, matrix), [], matrix)
    assert rate(table, "matrix") == (1, 1)
    assert "the suite has no contract ttl-2 test_that_was_removed" in table[0].reason


def test_every_mutant_runs_on_a_cell_that_can_show_it() -> None:
    """Its backend's, with the axis values that it asks for; for smoke, one of each image."""
    matrix = load()
    cells = choose(KNOWN.values(), ["smoke", "matrix"], matrix)
    for name, one in KNOWN.items():
        assert cells[name, "matrix"], f"no cell of the matrix can show {name}"
        assert {cell.backend for cell in cells[name, "matrix"]} == {one.backend}
        if not one.values and not one.alone:
            assert len(cells[name, "smoke"]) == 2


def test_mutants_that_share_an_event_run_alone() -> None:
    """Their unmutated adapters are judged in a job of their own, which nobody disturbs."""
    alone = KNOWN["tokens_start_again_after_a_crash"]
    jobs = jobs_of([(ONE, "a"), (alone, "a")])
    found = {(job.controls, *(one.name for one in job.mutants)) for job in jobs}
    assert found == {("with", ONE.name), ("only", alone.name), ("without", alone.name)}
    together = jobs_of([(alone, "a"), (KNOWN["health_check_remembers_the_failure"], "a")], {"a"})
    assert [len(job.mutants) for job in together] == [2, 2]


def test_every_mutant_is_pinned_to_a_contract_that_exists() -> None:
    """By rule and by name; and says where its bug comes from."""
    there = {(c.rule, c.place.partition("::")[2]) for c in contracts(ROOT / "contract_tests")}
    assert not [one.name for one in KNOWN.values() if (one.rule, one.test) not in there]
    assert not [one.name for one in KNOWN.values() if not (one.bug and one.source and one.says)]
    assert len(KNOWN) >= 60


INCIDENTS = [
    *("A1", "A2", "A3", "A5", "A7", "B1", "B2", "B3", "B4", "B6", "B7", "B8", "C1", "C2", "C3"),
    *("D1", "D2", "D3", "D4", "D5", "E1", "E2", "E3", "E4", "E5"),
]
"""Those that a store can be to blame for."""
OF_SERVERS = {"dur-5", "dur-6"}
"""Rules that no store can break: what a server does to data under other settings."""


def test_every_incident_and_every_rule_has_a_mutant() -> None:
    """What no mutant breaks is not known to bite."""
    assert {*INCIDENTS} <= {one.source for one in KNOWN.values()}
    rules = {one.rule for one in contracts(ROOT / "contract_tests")}
    assert rules - OF_SERVERS == {one.rule for one in KNOWN.values()}


def test_a_users_own_store_can_be_given_bugs(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its factory or its name in matrix.toml; each bug is pinned to a contract that exists."""
    monkeypatch.setenv(STORE, "my_agent.memory:MyStore.from_url")
    monkeypatch.setenv(BACKEND, "postgres")
    row = own_row(load())
    assert row
    assert (row.name, row.backend) == ("my_agent.memory:MyStore.from_url", "postgres")
    there = {(c.rule, c.place.partition("::")[2]) for c in contracts(ROOT / "contract_tests")}
    assert {(one.rule, one.test) for one in generic_mutants(row).values()} <= there
    monkeypatch.setenv(STORE, "RedisStore")
    named = own_row(load())
    assert named
    assert named.factory == "stores.redis:RedisStore.from_url"
    monkeypatch.setenv(STORE, "nowhere")
    with pytest.raises(MatrixError, match=r"package\.module:callable"):
        own_row(load())


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ({}, "-"),
        ({"RedisStore": "pass"}, "-"),
        ({"save_drops_the_ttl": "caught"}, "shows"),
        ({"save_drops_the_ttl": "leaked"}, "blind"),
        ({"save_drops_the_ttl": "caught", "reading_refreshes_the_ttl": "leaked"}, "partly"),
    ],
)
def test_the_ledger_has_a_word_for_each_place(said: dict[str, str], word: str) -> None:
    """A contract shows its mutants in a place, some of them, or none."""
    assert verdict_of(said, KNOWN) == word


def test_the_pages_name_every_mutant_and_the_rates_of_the_last_run() -> None:
    """Else `nox -s leaks` has to run again."""
    assert faults(KNOWN) == []
