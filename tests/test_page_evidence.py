"""What the page shows of a failure beside its text: the server's log, and the timeline."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.histories import LockHistory
from harness.report.broken import broken
from harness.report.excerpt import SHOWN, ServerLog
from harness.report.timeline import of_calls, pictures
from tests.made_up import BEGAN, HISTORY, history, some_cells

CLUSTER = """\
==> primary1, 127.0.0.1:1
1:M 20 Nov 2026 10:20:00.000 * one
a line without a time belongs to the one before
==> primary2, 127.0.0.1:2
1:M 20 Nov 2026 10:20:00.100 * two
1:M 20 Nov 2026 10:29:59.000 * its end
"""
POSTGRES = "2026-11-20 {} CET [1] LOG:  {}\n"
END = BEGAN + 600
"""Of a run that began at 10:20 by the servers' clocks."""


def test_a_log_is_cut_to_a_moment() -> None:
    """Lines of that moment, by server; those without a time go with the line before."""
    found = ServerLog(CLUSTER, END).around(BEGAN, BEGAN + 1)
    assert found.note == "at that moment"
    assert found.lines == [
        "==> primary1, 127.0.0.1:1",
        "1:M 20 Nov 2026 10:20:00.000 * one",
        "a line without a time belongs to the one before",
        "==> primary2, 127.0.0.1:2",
        "1:M 20 Nov 2026 10:20:00.100 * two",
    ]


@pytest.mark.parametrize("hour", [10, 11, 4])
def test_a_log_in_another_time_zone_is_understood(hour: int) -> None:
    """Its last line is of the end of the run: whole quarters of an hour are a time zone."""
    text = POSTGRES.format(f"{hour}:20:00.500", "then") + POSTGRES.format(
        f"{hour}:29:58.000", "end"
    )
    found = ServerLog(text.replace(" 4:", " 04:"), END).around(BEGAN, BEGAN + 1)
    assert found.note == "at that moment"
    assert [line.split()[-1] for line in found.lines] == ["then"]


def test_a_silent_moment_shows_what_was_said_before() -> None:
    """The last lines before it; of an empty log nothing; of one without times its end."""
    before = ServerLog(CLUSTER, END).around(BEGAN + 60, BEGAN + 61)
    assert before.note == "nothing at that moment; the last lines before it"
    assert before.lines[-1].endswith("two")
    assert ServerLog("", END).around(BEGAN, END).note == "empty"
    assert ServerLog("it cannot start", END).around(BEGAN, END).lines == ["it cannot start"]
    assert ServerLog("1:M 99 Nov 2026 10:20:00.000 * odd", END).around(BEGAN, END).lines


def test_a_long_moment_is_cut_in_its_middle() -> None:
    """Its first and last lines stay."""
    lines = [POSTGRES.format("10:20:00.000", f"line {number}.") for number in range(1000)]
    found = ServerLog("".join(lines), BEGAN).around(BEGAN, BEGAN + 1).lines
    assert len(found) == SHOWN + 1
    assert (found[0][-7:], found[-1][-9:]) == ("line 0.", "line 999.")
    assert f"… {1000 - SHOWN} lines …" in found


def test_a_picture_tells_lost_from_kept() -> None:
    """Bars by what came of each append, the proof of each broken rule, the event at its moment."""
    (picture,) = pictures([history()])
    assert [bar.kind for bar in picture.bars] == ["kept", "lost", "kept"]
    assert [bar.mark for bar in picture.bars] == ["", "1", ""]
    assert picture.said[0].startswith("lost: message 2 was acknowledged")
    assert list(picture.notes.values()) == ["1 of 3 lost"]
    assert picture.event == ("kill", 40_000_000)
    assert picture.x(picture.start) == picture.gutter < picture.x(40_000_000) < picture.width
    assert picture.ticks()[0][1] == "0 ms"


def test_sessions_of_one_event_share_a_picture() -> None:
    """Their broken rules are counted on."""
    (picture,) = pictures([history(), {**history(), "session": "second"}])
    assert len(picture.lanes) == 2
    assert [bar.mark for bar in picture.bars if bar.mark] == ["1", "3"]
    assert picture.said[2].startswith("lost: ")


def test_a_call_that_hung_does_not_squeeze_the_rest() -> None:
    """The axis ends soon after the event, however long a last call waited."""
    kept = json.loads(json.dumps(history()))
    kept["operations"][2]["completed"] = 20_000_000_000
    (picture,) = pictures([kept])
    assert picture.end < 50_000_000
    assert picture.x(20_000_000_000) <= picture.width


def test_two_holders_are_seen() -> None:
    """A lock's picture shows who waited, who held it, and the overlap."""
    times = iter(range(0, 100_000_000, 1_000_000))
    locks = LockHistory(1, clock=lambda: next(times))
    holds = [locks.acquire(name, lease=1.0) for name in ("one", "two")]
    for token, hold in enumerate(holds, start=1):
        hold.acknowledged(token)
    (picture,) = pictures([dict(locks.to_dict())])
    assert [bar.kind for bar in picture.bars] == ["waiting", "held"] * 2
    assert picture.said[0].startswith("overlapping: two was given the lock while one held it")
    assert [bar.mark for bar in picture.bars if bar.kind == "held"] == ["1", "1"]


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"kind": "poem"},
        {"kind": "messages"},
        {"kind": "messages", "seed": 1, "operations": [], "final": None},
    ],
)
def test_what_is_no_history_has_no_picture(record: dict[str, object]) -> None:
    """A file that was cut off, or of another version, costs no report."""
    assert pictures([record]) == []


def test_calls_of_several_threads_have_a_picture() -> None:
    """By thread, and those that failed apart."""
    picture = of_calls([["T-1", "append", 0, 5, ""], ["T-9", "read", 2, 9, "StoreUnavailable"]])
    assert picture is not None
    assert (picture.lanes, picture.legend) == (
        ["caller 1", "caller 2"],
        [("failed", "failed"), ("call", "answered")],
    )
    assert of_calls([]) is None


def test_only_files_of_the_cell_are_read(tmp_path: Path) -> None:
    """A name that leads out of the folder, and a file that is gone or broken, give no picture."""
    for change in ("out", "gone", "broken"):
        reports = tmp_path / change
        _, (cell, *_) = some_cells(reports)
        folder = reports / cell.cell
        (kept,) = [one for one in cell.results if one.failure]
        assert kept.failure is not None
        if change == "out":
            (folder / HISTORY).rename(reports / "history.json")
            kept.failure.histories[:] = ["../history.json"]
        elif change == "gone":
            (folder / HISTORY).unlink()
        else:
            (folder / HISTORY).write_text("{")
        assert broken([cell], reports).pictures == []
