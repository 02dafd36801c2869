"""Stores that others wrote: what runs say of them, and what is told when it changes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.docs import ROOT, contracts
from harness.matrix import load
from harness.report.results import Result
from harness.subjects.__main__ import main
from harness.subjects.outcomes import (
    BROKEN,
    KEPT,
    LEFT_OUT,
    TIMING,
    Found,
    Measured,
    changes,
    found,
    said,
    settled,
)
from harness.subjects.page import load_results, page
from harness.subjects.runs import runs_of

BEFORE = Measured({"package": "1.0"}, ("redis 7.0",), "2026-01-01", {"conv-1 test_a": Found(KEPT)})


def result(outcome: str, reason: str = "", case: str = "") -> Result:
    """Return a result of one contract."""
    return Result("conv-1", "A rule.", f"test_a[Store{case}]", "Store", outcome, reason, 0.1, [])


def now(outcome: str, said: str = "", package: str = "1.0") -> Measured:
    """Return what was measured on a later day."""
    contracts = {"conv-1 test_a": Found(outcome, said)}
    return Measured({"package": package}, ("redis 7.0",), "2026-02-02", contracts)


@pytest.mark.parametrize(
    ("runs", "outcome"),
    [
        ([[result("pass")], [result("pass")]], KEPT),
        ([[result("fail", "why")], [result("error", "why")]], BROKEN),
        ([[result("pass")], [result("fail", "why")]], TIMING),
        ([[result("pass", case="-1"), result("fail", "why", "-2")]], BROKEN),
        ([[result("not applicable", "no server")], [result("pass")]], KEPT),
        ([[result("not applicable", "no server")]], LEFT_OUT),
    ],
)
def test_all_runs_make_one_outcome(runs: list[list[Result]], outcome: str) -> None:
    """Over cells, cases and tries: broken is what failed each time in one of the cases."""
    assert {name: one.outcome for name, one in found(runs).items()} == {"conv-1 test_a": outcome}


def test_the_same_packages_with_another_outcome_are_a_race() -> None:
    """Not a change of the store: it is kept as such, and not told again at every turn."""
    race = settled(now(BROKEN, "why"), BEFORE)
    assert race.contracts == {"conv-1 test_a": Found(TIMING, "why")}
    assert changes("Store", race, BEFORE) == ["Store: conv-1 test_a is depends on timing, was kept"]
    for outcome in (KEPT, BROKEN, TIMING):
        again = settled(now(outcome, "other words"), race)
        assert again == race
        assert not changes("Store", again, race)


def test_another_version_is_a_change() -> None:
    """What is measured now counts, whatever was before."""
    later = settled(now(BROKEN, "why", package="2.0"), BEFORE)
    assert later == now(BROKEN, "why", package="2.0")
    assert changes("Store", later, BEFORE) == [
        "Store: package is 2.0, was 1.0",
        "Store: conv-1 test_a is broken, was kept",
    ]
    assert changes("Store", later, None) == ["Store: is new"]


def test_a_second_run_changes_nothing() -> None:
    """Not even the date, or the numbers in a message."""
    assert settled(now(KEPT), BEFORE) == BEFORE
    broken = now(BROKEN, "first words")
    assert settled(replace(now(BROKEN, "other words"), date="2026-03-03"), broken) == broken
    assert Measured.from_dict(broken.to_dict()) == broken


def test_what_is_shown_is_the_line_that_says_most() -> None:
    """Without what differs from run to run."""
    shown = (
        "    def test():\n>   assert 1\nE   AssertionError: at 0x7ff6bb93ca50 in 0.51 s\nE   more"
    )
    assert said(shown) == "AssertionError: at … in …"
    assert said("\nFailed: torn: half a batch\n    more") == "Failed: torn: half a batch"
    assert len(said("x" * 1000)) < 250


def test_the_page_is_of_the_kept_results(capsys: pytest.CaptureFixture[str]) -> None:
    """And they are of the packages in matrix.toml, and of contracts that are there."""
    assert main(["--check"]) == 0, capsys.readouterr().out
    subjects, results = load().subjects, load_results()
    assert {*results} == {*subjects}
    there = {f"{c.rule} {c.place.partition('::')[2]}" for c in contracts(ROOT / "contract_tests")}
    for name, measured in results.items():
        assert {*measured.contracts} <= there, name
        outcomes = {one.outcome for one in measured.contracts.values()}
        assert outcomes <= {KEPT, BROKEN, TIMING, LEFT_OUT}
        assert KEPT in outcomes, f"{name}: nothing was measured"
    assert "**broken**" in page(results, subjects, 2)


def test_the_control_shows_that_the_contracts_see() -> None:
    """A store of one process breaks what takes two, and nothing else."""
    measured = load_results()["InMemory"]
    broken = {name for name, one in measured.contracts.items() if one.outcome != KEPT}
    left_out = {name for name, one in measured.contracts.items() if one.outcome == LEFT_OUT}
    assert {name.partition(" ")[0] for name in broken - left_out} == {"con-2", "con-3"}


def test_each_subject_runs_in_the_cells_of_its_server() -> None:
    """As often as asked, with another seed each time."""
    matrix = load()
    runs = runs_of(matrix.subjects["LangchainPostgres"], matrix.lane("smoke"), 3)
    assert [(one.cell.image.name, one.number) for one in runs] == [
        (image, number) for number in (1, 2, 3) for image in ("postgres15", "postgres16")
    ]


def test_a_wrong_subject_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """With those that there are."""
    assert main(["--subject", "Langchain"]) == 2
    assert capsys.readouterr().out.startswith("there is no subject 'Langchain'; there are InMemory")
