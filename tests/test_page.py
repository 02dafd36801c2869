"""The report's page as text: what it says, what it never has, and how big it may get."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pytest

from harness.matrix import load
from harness.report.decisions import decisions
from harness.report.island import WORST_FIRST
from harness.report.page import SIGNS, page
from harness.report.results import CellReport, Result
from tests.made_up import BEGAN, HISTORY, NASTY, PASSWORD, many_cells, some_cells
from tests.project import ROOT

GREEN_BYTES = 1_500_000


@pytest.fixture
def shown(tmp_path: Path) -> str:
    """A page with every outcome."""
    return page(*some_cells(tmp_path), tmp_path)


def test_it_loads_nothing_and_runs_one_script(shown: str) -> None:
    """No address but relative ones and a picture of nothing; the policy allows no other script."""
    assert not re.findall(r"(?:https?:)?//[a-z]", shown.partition("<main>")[0])
    assert re.findall(r'\b(?:src|srcset)="', shown) == []
    links = [link for link in re.findall(r'href="([^"]*)"', shown) if link[0] != "#"]
    assert {link.partition(":")[0] for link in links if ":" in link} == {"data"}
    assert "default-src 'none'" in shown
    assert "script-src 'sha256-" in shown
    assert shown.count("<script>") == 1


def test_its_links_lead_somewhere(shown: str, tmp_path: Path) -> None:
    """Every file and every place that a link names is there."""
    places = set(re.findall(r'\bid="([^"]*)"', shown))
    for link in re.findall(r'href="([^"]*)"', shown):
        if link.startswith("#"):
            assert link[1:] in places, link
        elif ":" not in link and not link.endswith("results.jsonl"):
            assert (tmp_path / unquote(link)).exists(), link
    assert f'href="redis6_aof_always_noeviction/{HISTORY}"' in shown


def test_no_password_and_no_markup_of_others(shown: str) -> None:
    """Neither in what is shown, nor in what the script reads."""
    assert PASSWORD not in shown
    assert NASTY not in shown
    assert "<img" not in shown
    assert shown.count("</script>") == 2


@pytest.mark.parametrize(
    ("change", "headline"),
    [
        ({}, "1 contracts failed, in 1 of 1 cell"),
        ({"outcome": "error"}, "1 contracts failed"),
        ({"results": []}, "Every contract that applies is kept, in 1 cell"),
        ({"results": [], "outcome": "not run"}, "1 of 1 cell did not run to the end"),
        ({"results": [], "unreached": 3}, "3 contracts did not run, in 1 cell"),
    ],
)
def test_the_headline_tells_the_outcome(
    tmp_path: Path, change: dict[str, object], headline: str
) -> None:
    """A failure comes first, then what did not run; only what ran is kept."""
    matrix, (cell, *_) = some_cells(tmp_path)
    failing = replace(cell, results=[one for one in cell.results if one.outcome == "fail"])
    said = page(matrix, [replace(failing, **change)], tmp_path)  # type: ignore[arg-type] # of many types
    assert headline.replace("1 contracts", "1 contract") in said.partition("<main>")[0]


def test_a_green_page_of_everything_is_small(tmp_path: Path) -> None:
    """All cells with 200 contracts on two stores each."""
    matrix, cells = many_cells(200, 58)
    green = [
        replace(
            cell,
            results=[
                replace(one, outcome="pass", seconds=0.1234567) if one.outcome == "fail" else one
                for one in cell.results
            ],
        )
        for cell in cells
    ]
    assert len(page(matrix, green, tmp_path).encode()) < GREEN_BYTES


def test_a_page_of_failures_alone_does_not_explode(tmp_path: Path) -> None:
    """Where everything fails the first few hundred are told in full, and the rest is counted."""
    matrix, cells = many_cells(50, 20)
    red = [
        replace(cell, results=[replace(one, outcome="fail", message="no") for one in cell.results])
        for cell in cells
    ]
    said = page(matrix, red, tmp_path)
    assert said.count('<details class="failure"') == 300
    assert "1700 more failures are in the grid" in said


def test_the_docs_know_every_sign() -> None:
    """docs/report.md explains each sign of the grid, and what stands for several."""
    told = (ROOT / "docs" / "report.md").read_text(encoding="utf-8")
    for outcome, sign in SIGNS.items():
        assert f"| `{sign}` | {outcome} |" in told
    assert f"any of\nthem has: {', '.join(WORST_FIRST)}." in told


def test_nothing_at_all_is_a_page_too(tmp_path: Path) -> None:
    """A run without cells has a page that says so."""
    assert "0 of 0 cells did not run" in page(load(), [], tmp_path)


def test_the_table_to_decide_by_shows_what_was_measured_and_what_was_not() -> None:
    """Each event that applies to a row has its promise; a failing contract marks its verdict."""
    seen = {"event": "kill", "happening": 1, "acknowledged": 10, "lost": 4, "lost_seconds": 0.5}
    failed = Result(
        "dur-1", "", "test_loss[S-kill]", "S", "fail", "", 0.1, [seen], began=BEGAN, message="no"
    )
    cells = [
        CellReport("redis6_aof_always_noeviction", "done", "", {}, [failed]),
        CellReport("redis6_aof_always_allkeys_lru", "not run", "no server"),
        CellReport("postgres16_durable_lazy_read_committed", "not run", "no server"),
    ]
    found = {(block.backend, block.axes): block for block in decisions(load(), cells)}
    (row,) = found["redis", ("persistence",)].rows
    assert (row.image, row.values, len(row.cells)) == ("redis6", {"persistence": "aof_always"}, 2)
    kill = row.events["kill"]
    assert kill.promise == "keeps_all"
    assert kill.measured is not None
    assert (kill.measured.broken, kill.measured.figures()) == (1, "4 of 10, up to 0.50 s")
    assert row.events["restart"].measured is None
    (postgres,) = found["postgres", ("persistence",)].rows
    assert "pressure" not in postgres.events, "Postgres has its disk run full, not its memory"
    assert "pressure of disk" in postgres.events
