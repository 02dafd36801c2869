"""What the bench says of its figures. It times nothing here: `nox -s bench` does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.__main__ import main
from bench.adapters.bare_redis import BARE, READING
from bench.adapters.measuring import Sample, median, sample
from bench.adapters.ours import OURS
from bench.goals import verdicts
from bench.page import page
from bench.plots import Bar, bars
from bench.summary import summary

PEER = "somebody's <store>"


def row(operation: str, ratio: float, **others: float) -> dict[str, Any]:
    """Return a row of the adapters' figures."""
    rates = {OURS: ratio, BARE: 1.0, **others}
    return {
        "backend": "redis",
        "face": "sync",
        "workload": {
            "operation": operation,
            "size": 100,
            "length": 0,
            "name": f"{operation}, 100 B",
        },
        "clients": 1,
        "of": {
            name: {"rate": 1000 * r, "p50": 0.001 / r, "p99": 0.002 / r}
            for name, r in rates.items()
        },
        "ratio": {name: ratio / r for name, r in rates.items() if name != OURS},
    }


FOUND: dict[str, Any] = {
    "date": "2026-11-20",
    "machine": {"cores": 2, "memory_gb": 24, "load": 0.1},
    "rounds": 5,
    "seconds": 600,
    "adapters": [
        row("append", 0.9, **{PEER: 0.5}),
        row("history", 0.5, **{READING: 0.6, PEER: 0.7}),
    ],
    "memory": [{"who": "ours, redis", "size": 100, "bytes": 345.6}],
    "peers": [
        {"server": "redis", "who": OURS, "first": 1.0, "twenty": 1.5, "reason": "", "why": ""},
        {"server": "redis", "who": PEER, "first": 2.0, "twenty": 3.0, "reason": "", "why": ""},
        {"server": "redis", "who": "x", "first": None, "twenty": None, "reason": "no x", "why": ""},
    ],
    "matrix": {
        "full": {
            "cells": 58,
            "contracts": 17300,
            "wall": 100.0,
            "cell_seconds": 400.0,
            "phases": {"contracts": 300.0, "boot": 100.0},
            "cores": 2,
            "overhead": 1.2,
            "floor_said": "",
        },
        "fast": {"warm": 1.2, "contracts": 0.5},
        "scaling": [{"what": "4 cells", "wall": 10.0, "idle": 0.5, "ratio": 1.0}],
        "subset": "of a few contracts",
    },
}


def test_each_missed_goal_is_named_with_what_was_measured_and_why() -> None:
    missed = [one for one in verdicts(FOUND) if not one.reached]
    assert [one.goal for one in missed] == [
        "0.8 of the bare driver: redis sync, history, 100 B, 1 client",
        f"ahead of {PEER}: redis sync, history, 100 B, 1 client",
        "the whole matrix in 90 s",
    ]
    assert all(one.reason and one.measured for one in missed)
    assert "json.loads" in missed[0].reason


def test_the_page_and_the_summary_have_every_figure() -> None:
    shown, written = page(FOUND), summary(FOUND)
    for text in ("0.90", "0.50", "1.50 s", "346", "not run: no x", "4 cells", "17,300"):
        assert text in shown, text
        assert text in written, text
    assert "<store>" not in shown
    assert "http" not in shown.replace("http-equiv", "")


def test_parts_that_were_not_measured_are_left_out() -> None:
    for part in ("adapters", "peers", "matrix", "memory"):
        less = {name: value for name, value in FOUND.items() if name != part}
        assert page(less)
        assert summary(less)


def test_bars_are_cut_where_they_are_too_long() -> None:
    shown = bars([Bar("a", (("ours", 100.0),), "100"), Bar("b", (("ours", 1.0),), "1")], most=2.0)
    widths = [part.partition('width="')[2].partition('"')[0] for part in shown.split("<rect")[1:]]
    assert [float(width) for width in widths] == [330.0, 165.0]


def test_every_client_calls_and_all_are_counted() -> None:
    calls: list[list[int]] = [[], [], []]
    found = sample([lambda mine=mine: mine.append(1) for mine in calls], 0.02)  # type: ignore[misc] # its type is told
    assert all(calls)
    assert found.rate > 0
    assert 0 <= found.p50 <= found.p99
    assert median([Sample(1, 2, 3), Sample(3, 1, 1), Sample(2, 3, 2)]) == Sample(2, 2, 2)


def test_a_call_that_fails_ends_the_sample() -> None:
    with pytest.raises(ZeroDivisionError):
        sample([lambda: 1 // 0], 0.02)


def test_publishing_needs_figures(tmp_path: Path, capsys: Any) -> None:
    assert main(["--publish", "--reports", str(tmp_path)]) == 2
    assert "nox -s bench" in capsys.readouterr().out


def test_wrong_options_are_one_line() -> None:
    for wrong in (["--rounds", "0"], ["--only", "nothing"]):
        command = [sys.executable, "-m", "bench", *wrong]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert "error" in done.stderr


def test_the_figures_are_json() -> None:
    assert json.loads(json.dumps(FOUND)) == FOUND
