"""Promised vs measured: sums over like cells, rows that nothing tells apart, and what is slow."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from contract_tests.outage import LEAST, load_seconds, times
from harness.matrix import Matrix, load
from harness.promises import Promise
from harness.report.discrimination import Pair, pairs
from harness.report.measured import labels, measured, outcome_class, sums
from harness.report.moved import moved
from harness.report.results import CellReport, Result
from harness.report.slowest import slowest

GOOD = Path(__file__).parent / "matrices" / "good.toml"
OFF, OFF_LRU, ON, ON_LRU = "redis7_off_none", "redis7_off_lru", "redis7_on_none", "redis7_special"


@pytest.fixture(scope="module")
def matrix() -> Matrix:
    """Two values of saving, two of eviction, and each combination in one cell."""
    return load(GOOD)


def test_events_are_tried_often_and_long_enough_to_break_a_promise() -> None:
    """Every bound can be exceeded; of each row that may lose nothing there is enough."""
    real = load()
    cuts: Counter[tuple[str, str]] = Counter()
    for cell in real.lane("matrix"):
        for event, promise in cell.promises.items():
            assert load_seconds(promise) > (promise.seconds or 0.0)
            if (
                event == "power_cut"
                and promise.kind == "keeps_all"
                and "persistence" in cell.values
            ):
                row = cell.image.name, cell.values["persistence"]
                cuts[row] += times(event, promise)
    assert {image for image, _ in cuts} == {"redis6", "redis7", "postgres15", "postgres16"}
    for (image, value), count in cuts.items():
        stores = [one for one in real.stores.values() if image.startswith(one.backend)]
        assert count >= 5, f"{image} {value}"
        assert count * len(stores) * LEAST >= 1000, f"{image} {value}"


def report(cell: str, *seen: dict[str, Any], store: str = "Mine") -> CellReport:
    """Return the report of a cell that measured so."""
    result = Result("dur-1", "", "test_loss[x]", store, "pass", "", 2.0, list(seen), 1.5)
    return CellReport(cell, "done", "", results=[result])


def loss(event: str, of: int, lost: int, seconds: float = 0.0, **more: object) -> dict[str, Any]:
    """Return a measurement."""
    return {"event": event, "acknowledged": of, "lost": lost, "lost_seconds": seconds, **more}


def test_what_is_seen_of_an_event_has_a_class() -> None:
    """Losses by their extent; refusals and forgotten sessions by whose they were."""
    assert outcome_class(loss("kill", 9, 0)) == "kept all"
    assert outcome_class(loss("kill", 9, 4)) == "lost a tail"
    assert outcome_class(loss("kill", 9, 9)) == "lost all"
    assert outcome_class(loss("kill", 9, 9, older_lost=1)) == "lost all, older too"
    assert outcome_class(loss("pressure", 9, 0, refused=3)) == "refused writes"
    forgot = loss("pressure", 9, 9, forgotten_expiring=3, forgotten_lasting=0)
    assert outcome_class(forgot) == "forgot expiring sessions"
    assert outcome_class({**forgot, "forgotten_lasting": 1}) == "forgot any session"


def test_what_a_clean_stop_left_may_not_be_lost_by_those_who_promise_to_keep_it() -> None:
    """A snapshot that is lost breaks its promise; where all may be lost, so may what is older."""
    assert Promise("loses_since_snapshot").broken_by(5, 0.2, older_lost=1)
    assert Promise("loses_tail", 2.0).broken_by(0, 0.0, older_lost=1)
    assert Promise("keeps_all").broken_by(0, 0.0, older_lost=1)
    assert not Promise("loses_since_snapshot").broken_by(5, 0.2)
    assert not Promise("loses_all").broken_by(5, 0.2, older_lost=1)


def test_an_event_that_several_stores_were_measured_in_is_one(matrix: Matrix) -> None:
    """Events are counted by their number; a measurement without one is an event of its own."""
    seen = [loss("power_cut", 10, 1, 0.5, happening=n) for n in (1, 1, 2, 2)]
    found = measured(matrix, report(ON, *seen), "power_cut")
    assert found is not None
    assert (found.events, found.total("acknowledged"), found.total("lost")) == (2, 40, 4)
    alone = measured(
        matrix, report(OFF, loss("pressure", 1, 0), loss("pressure", 1, 0)), "pressure"
    )
    assert alone is not None
    assert alone.events == 2
    assert measured(matrix, report(ON, *seen), "kill") is None


def test_the_worst_measurement_is_the_one_with_the_greatest_loss(matrix: Matrix) -> None:
    """By class, then by writes; the age is the oldest of all."""
    seen = [loss("power_cut", 10, 3, 0.9), loss("power_cut", 50, 9, 0.4), loss("power_cut", 9, 0)]
    found = measured(matrix, report(ON, *seen), "power_cut")
    assert found is not None
    assert found.worst["acknowledged"] == 50
    assert found.plain()["lost_seconds"] == 0.9
    assert found.plain()["outcomes"] == {"lost a tail": 2, "kept all": 1}
    assert found.said() == "12 of 69, up to 0.90 s"


def test_sums_join_the_cells_that_promise_the_same_for_the_same_reason(matrix: Matrix) -> None:
    """Only the axes count that make a difference to what is promised for the event."""
    cells = [
        report(OFF, loss("kill", 10, 10), loss("pressure", 5, 0)),
        report(OFF_LRU, loss("kill", 20, 20), loss("pressure", 7, 1)),
        report(ON, loss("kill", 30, 0), loss("pressure", 9, 0)),
        report(ON_LRU, loss("kill", 40, 0)),
    ]
    found = {
        (one.event, *one.values.items()): (one.cells, one.measured.total("acknowledged"))
        for one in sums(matrix, cells)
    }
    assert found == {
        ("kill", ("saving", "off")): (2, 30),
        ("kill", ("saving", "on")): (2, 70),
        ("pressure", ("eviction", "none")): (2, 14),
        ("pressure", ("eviction", "lru")): (1, 7),
    }


def test_pressure_of_the_disk_is_an_event_of_its_own(matrix: Matrix) -> None:
    """What a full disk does is not added to what a full memory does."""
    of_memory = {**loss("pressure", 5, 0, refused=2), "of": "memory"}
    cell = report(OFF, of_memory, {**loss("pressure", 7, 0), "of": "disk"})
    assert labels([cell]) == ["pressure", "pressure of disk"]
    assert [one.event for one in sums(matrix, [cell])] == ["pressure", "pressure of disk"]
    memory, disk = (measured(matrix, cell, event) for event in labels([cell]))
    assert memory is not None
    assert disk is not None
    assert (memory.outcome, memory.total("acknowledged")) == ("refused writes", 5)
    assert (disk.promise, disk.total("acknowledged")) == ("refuses_writes", 7)


def named(found: list[Pair]) -> dict[tuple[str, str], Pair]:
    """Return pairs by their values."""
    return {pair.values: pair for pair in found}


def test_rows_are_told_apart_by_what_was_measured(matrix: Matrix) -> None:
    """An event that two neighbours show differently tells them apart, in any pair of cells."""
    cells = [
        report(OFF, loss("kill", 10, 10)),
        report(OFF_LRU, loss("kill", 10, 10)),
        report(ON, loss("kill", 10, 10)),
        report(ON_LRU, loss("kill", 10, 0)),
    ]
    found = named(pairs(matrix, cells))
    saving = found["off", "on"]
    assert (saving.discriminated, saving.pairs, saving.told_apart) == (True, 2, {"kill": 1})
    assert saving.plain()["needed"] is None


def test_rows_that_nothing_tells_apart_are_named_with_what_is_needed(matrix: Matrix) -> None:
    """An event that was not measured, or that showed the same of different promises."""
    cells = [report(cell, loss("kill", 9, 0)) for cell in (OFF, OFF_LRU, ON, ON_LRU)]
    found = named(pairs(matrix, cells))
    assert not found["off", "on"].discriminated
    assert found["off", "on"].needed() == (
        "restart, which was not measured; "
        "more of kill: loses_all and keeps_all both kept all; "
        "power_cut, which was not measured"
    )
    evictions = found["none", "lru"]
    assert evictions.needed() == "pressure, which was not measured"


def test_rows_that_promise_the_same_cannot_be_told_apart(tmp_path: Path) -> None:
    """The report says so, instead of asking for more measurements."""
    path = tmp_path / "matrix.toml"
    text = GOOD.read_text(encoding="utf-8")
    path.write_text(text.replace('"forgets_any_session"', '"refuses_writes"'), encoding="utf-8")
    same = load(path)
    found = named(pairs(same, [report(cell, loss("kill", 9, 0)) for cell in (OFF, OFF_LRU)]))
    said = "an event in which they promise different things: there is none"
    assert found["none", "lru"].needed() == said
    assert len(found) == 1, "only of cells that are in the report"
    assert not pairs(same, [report(OFF), report(OFF_LRU)]), "and that measured anything"


def test_rules_that_only_one_of_two_rows_has_are_named(tmp_path: Path) -> None:
    """Where no event can tell rows apart, contracts may: those that apply to one of them."""
    path = tmp_path / "matrix.toml"
    text = GOOD.read_text(encoding="utf-8")
    path.write_text(text.replace('"forgets_any_session"', '"refuses_writes"'), encoding="utf-8")
    cells = [report(cell, loss("kill", 9, 0)) for cell in (OFF, OFF_LRU)]
    for cell, outcome in zip(cells, ("not applicable", "pass"), strict=True):
        cell.results.append(Result("evi-4", "", "test_recency", "Mine", outcome, "", 0.1, []))
    (pair,) = pairs(load(path), cells)
    assert pair.plain()["rules"] == ["evi-4"]
    assert pair.needed().endswith("there is none; only one of them has evi-4")


def test_changes_show_what_became_of_the_data_of_every_store() -> None:
    """From, to, and whether it was kept, refused or lost: silently where a server said nothing."""
    matrix = load()
    origin = "redis7_rdb_noeviction"

    def seen(target: str, fate: str, said: str = "") -> dict[str, Any]:
        place = {"origin": origin, "target": f"{target}_noeviction", "way": "restart"}
        return {"event": "change", **place, "fate": fate, "said": said}

    one = report(
        origin, seen("redis7_aof_always", "lost"), seen("redis6_rdb", "refused", "format 10")
    )
    other = report(origin, seen("redis7_aof_always", "lost"), store="Other")
    joined = CellReport(origin, "done", "", results=[*one.results, *other.results])
    found = {move.change.target: move for move in moved(matrix, [joined])}
    lost = found["redis7_aof_always_noeviction"]
    assert (lost.outcome, lost.fates) == ("lost silently", {"Mine": "lost", "Other": "lost"})
    assert found["redis6_rdb_noeviction"].outcome == "refused: format 10"
    assert found["redis7_none_noeviction"].outcome == "not made"
    none = report(
        "redis7_none_noeviction", {**seen("redis7_rdb", "lost"), "origin": "redis7_none_noeviction"}
    )
    (from_nothing,) = moved(matrix, [none])
    assert from_nothing.outcome == "lost, as at any restart"


def test_the_slowest_contracts_come_first_with_their_setup() -> None:
    """Seconds are summed over stores, parameters and cells; the worst cell is named."""
    cells = [report(OFF), report(ON), report(ON, store="Other")]
    cells[1].results.append(Result("dur-1", "", "test_loss[y]", "Mine", "pass", "", 3.0, [], 0.5))
    cells[0].results.append(Result("ctx-1", "", "test_quick", "Mine", "pass", "", 0.1, []))
    first, second = slowest(cells)
    assert (first.test, first.seconds, first.setup_seconds) == ("test_loss", 9.0, 5.0)
    assert (first.worst_cell, first.worst_seconds) == (ON, 5.0)
    assert second.test == "test_quick"
    assert [cost.test for cost in slowest(cells, 1)] == ["test_loss"]
