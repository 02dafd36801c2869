"""Reports made up for tests of the page: as many cells and contracts as one asks for."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from harness.matrix import Matrix, load
from harness.report.failure import Failure
from harness.report.page import page
from harness.report.results import FAILED, GROUPS, CellReport, Result

NASTY = "</script><img src=x onerror=\"hacked=1\"><svg/onload='hacked=1'>{{ 7*7 }}"
"""What a page must show as it is."""
PASSWORD = "YbBTOXw-hVpaxEOMsMNrBw"
BEGAN = 1_795_170_000.0
MINUS = 20_000_000_000
"""What makes a Unix time of the histories' clock, in nanoseconds."""
HISTORY = "histories/kill-1-RedisStore-first.json"
LOG = """\
1:M 20 Nov 2026 10:19:58.000 * long before
1:M 20 Nov 2026 10:20:01.100 # Received SIGKILL
1:M 20 Nov 2026 10:25:00.000 * long after
"""
ENDS = {
    "test_passes": ("conv-1", "pass", ""),
    "test_fails": ("con-1", "fail", ""),
    "test_errs": ("ttl-2", "error", ""),
    "test_is_a_known_gap": ("val-1", "known gap", "known: issue 7"),
    "test_does_not_apply": ("top-1", "not applicable", f"one server {NASTY}"),
    "test_does_not_run": ("iso-1", "not run", f"no server at redis://:{PASSWORD}@host/0"),
}


def failure() -> Failure:
    """Return what a contract tells that failed in a kill, on a store with a password."""
    return Failure(
        rules=["con-1", "dur-1"],
        sentence=f"A rule {NASTY}.",
        check=["Whether it is", "so."],
        done=[f"append_message('s', {NASTY!r}) -> None in 1.0 ms"],
        log="reports/cell/server.log",
        again="nox -s 'matrix(cell)' -- -k test_fails --seed 1",
        expected="[1, 2, 3]",
        got=f"redis://:{PASSWORD}@127.0.0.1:3/0",
        histories=[HISTORY],
    )


def history() -> dict[str, object]:
    """Return a history of one session, of which the second message was lost in a kill."""
    operations = [
        {
            "kind": "append",
            "worker": "writer",
            "invoked": number * 10_000_000,
            "completed": number * 10_000_000 + 5_000_000,
            "outcome": "acknowledged",
            "ids": [f"message {number}"],
            "positions": [number],
        }
        for number in (1, 2, 3)
    ]
    return {
        "kind": "messages",
        "seed": 1,
        "operations": operations,
        "final": [[1, "message 1"], [3, "message 3"]],
        "event": "kill",
        "event_ns": 40_000_000,
        "session": f"first {NASTY}",
        "unix_ns": int((BEGAN + 1) * 1e9),
    }


def some_cells(reports: Path) -> tuple[Matrix, list[CellReport]]:
    """Return cells in which contracts end in every way, and one that did not run."""
    matrix = load()
    ids = ["redis6_aof_always_noeviction", "redis7_cluster", "postgres16_replica"]
    cells = []
    for cell_id in ids:
        results = [
            Result(
                rule=rule,
                sentence=f"A rule {NASTY}." if outcome == "fail" else f"A rule of {rule}.",
                test=f"{name}[RedisStore-kill]",
                store="RedisStore",
                outcome="pass" if outcome in FAILED and cell_id != ids[0] else outcome,
                reason=reason,
                seconds=0.25,
                measured=[_measured(outcome)] if rule == "con-1" else [],
                began=BEGAN,
                message=f"AssertionError: {NASTY}" if outcome == "fail" else "a broken fixture",
                failure=failure() if outcome == "fail" and cell_id == ids[0] else None,
            )
            for name, (rule, outcome, reason) in ENDS.items()
        ]
        facts = {"provider": "docker", "version": "7.0", "settings": {"password": NASTY}}
        cells.append(CellReport(cell_id, "done", "", facts, results))
    cells.append(CellReport("redis7_sentinel", "not run", f"no image {NASTY}"))
    folder = reports / ids[0]
    (folder / "histories").mkdir(parents=True)
    (folder / HISTORY).write_text(json.dumps(history()))
    (folder / "server.log").write_text(LOG)
    return matrix, cells


def many_cells(contracts: int, cells: int) -> tuple[Matrix, list[CellReport]]:
    """Return cells of two stores each, in which one result in a hundred is a failure."""
    matrix = load()
    pattern = [matrix.cells[cell_id] for cell_id in matrix.lanes["matrix"]]
    made = {
        f"{pattern[number % len(pattern)].id}_{number}": pattern[number % len(pattern)]
        for number in range(cells)
    }
    outcome: Callable[[int], str] = lambda number: (  # noqa: E731 - one line says it
        "fail" if number % 100 == 7 else "not applicable" if number % 5 == 0 else "pass"
    )
    reports = [
        CellReport(
            cell_id,
            "done",
            "",
            {"version": "7.0", "provider": "docker"},
            [
                Result(
                    rule=f"{GROUPS[number % len(GROUPS)]}-{number}",
                    sentence=f"Rule {number} is kept, whatever happens to the server meanwhile.",
                    test=f"test_rule_{number}[{store}]",
                    store=store,
                    outcome=outcome(number * 7 + place * 3),
                    reason="it does not apply" if outcome(number * 7 + place * 3)[0] == "n" else "",
                    seconds=0.1,
                    measured=[],
                    began=BEGAN,
                )
                for number in range(contracts)
                for store in ("RedisStore", "AsyncRedisStore")
            ],
        )
        for place, cell_id in enumerate(made)
    ]
    ids = {cell_id: replace(cell, id=cell_id) for cell_id, cell in made.items()}
    lanes = {"matrix": tuple(ids), "smoke": tuple(ids)[:4]}
    return replace(matrix, cells=ids, lanes=lanes), reports


def write(folder: Path, made: tuple[Matrix, list[CellReport]]) -> Path:
    """Write the page of some reports; return its path."""
    path = folder / "index.html"
    path.write_text(page(*made, folder), encoding="utf-8")
    return path


def _measured(outcome: str) -> dict[str, object]:
    lost = 1 if outcome == "fail" else 0
    return {"event": "kill", "happening": 1, "acknowledged": 3, "lost": lost, "lost_seconds": 0.02}
