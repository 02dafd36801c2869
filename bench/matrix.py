"""The matrix: where a whole run's time went, and how a small part of it scales."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from bench import BrokenError
from harness.matrix import STANDALONE, load
from harness.report.outcome import FILE, read_outcome
from harness.report.phases import read_phases
from harness.report.results import read_cell

CORES = os.cpu_count() or 1
CONTRACTS = "test_context"
"""A small part of the suite: its cells are mostly their server's boot, imports and removal."""
CELLS, WIDTHS, SHARDS = (4, 8, 16), (1, 2, 4, 8), (1, 2, 3, 4)
WIDTH, SOME = 4, 8
"""Cells at once where their number varies, and cells where the width or the shards do."""
SECONDS = 150.0
"""No round begins later: one takes a minute or two."""
SUBSET = (
    "Wall seconds of cells of `nox -s matrix`, with `-k {contracts}`, contracts that need neither "
    "TTLs nor outages, on Redis and Postgres in turns; rounds: {rounds}. The whole matrix would "
    "take hours in as many ways."
)
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Way:
    """Parts of some cells, run one part after the other, with so many cells at once."""

    parts: tuple[tuple[str, ...], ...]
    width: int

    def __str__(self) -> str:
        return f"{' and '.join(f'{len(part)}' for part in self.parts)} cells, -j {self.width}"


def measure(reports: Path, rounds: int, tell: Tell) -> dict[str, Any]:
    """Return the phases of the last whole run, if there was one, and the scaling of a part."""
    found: dict[str, Any] = {"full": whole(reports), "fast": _fast(rounds, tell)}
    found["scaling"], done = _scaling(rounds, tell)
    found["subset"] = SUBSET.format(contracts=CONTRACTS, rounds=done)
    return found


def whole(reports: Path) -> dict[str, Any] | None:
    """Return what the last run of all cells left: wall seconds, and cell-seconds by phase."""
    cells = [cell.id for cell in load().lane("matrix")]
    outcomes = {cell: read_outcome(reports / cell) for cell in cells}
    runs = Counter(outcome.run for outcome in outcomes.values() if outcome.outcome == "done")
    run, count = runs.most_common(1)[0] if runs else ("", 0)
    if not run or count < len(cells) / 2:
        return None
    ended = max(
        (reports / cell / FILE).stat().st_mtime for cell in cells if outcomes[cell].run == run
    )
    began = int(run.partition("-")[2]) / 1e9
    phases: dict[str, float] = {}
    contracts, cpu, process = 0, 0.0, 0.0
    for cell in cells:
        if outcomes[cell].run != run:
            continue
        times, results = read_phases(reports / cell), read_cell(reports / cell).results
        if not times:
            return None  # of an earlier release, which did not note them
        contracts += sum(result.outcome == "pass" for result in results)
        cpu, process = cpu + times["cpu"], process + times["process"]
        in_tests = sum(result.seconds for result in results)
        fixtures = sum(result.setup_seconds for result in results)
        named = {
            name: times.get(name, 0.0) for name in ("imports", "boot", "attestation", "removal")
        }
        rest = max(0.0, times["process"] - in_tests - sum(named.values()))
        inside = {"contracts": in_tests - fixtures, "fixtures": fixtures}
        for name, seconds in {**named, **inside, "collecting, reporting": rest}.items():
            phases[name] = phases.get(name, 0.0) + seconds
    wall = ended - began
    floor = cpu / CORES
    return {
        "cells": count,
        "contracts": contracts,
        "wall": wall,
        "cell_seconds": process,
        "phases": dict(sorted(phases.items(), key=lambda phase: -phase[1])),
        "cores": CORES,
        "waiting": 1 - cpu / process,
        "overhead": wall / floor,
        "floor_said": f"the cells' own processes compute for {cpu:.0f} s, their servers apart: on "
        f"{CORES} cores no less than {floor:.0f} s; the other {1 - cpu / process:.0%} of their "
        "lives they wait, for servers, TTLs and their turn",
    }


def _fast(rounds: int, tell: Tell) -> dict[str, float]:
    """Time `nox -s fast` with everything warm."""
    walls, inside = [], []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for turn in range(rounds + 1):
            wall, _ = _nox(["fast"], 1, ["--reports", folder])
            if turn:  # the first warms up
                walls.append(wall)
                cells = [read_cell(path.parent) for path in Path(folder).glob(f"*/{FILE}")]
                inside.append(sum(cell.seconds for cell in cells))
    tell(f"nox -s fast, warm: {median(walls):.2f} s")
    return {"warm": median(walls), "contracts": median(inside)}


def _scaling(rounds: int, tell: Tell) -> tuple[list[dict[str, Any]], int]:
    """Return a row for each way to run some cells, and how many rounds there was time for."""
    cells = _alternating()
    ways: dict[tuple[str, str], Way] = {}
    for count in CELLS:
        ways["cells", f"{count} cells, -j {WIDTH}"] = Way((tuple(cells[:count]),), WIDTH)
    for width in WIDTHS:
        ways["width", f"{SOME} cells, -j {width}"] = Way((tuple(cells[:SOME]),), width)
    for shards in SHARDS:
        parts = tuple(tuple(cells[:SOME][first::shards]) for first in range(shards))
        name = f"{SOME} cells in {shards} shard{'s' * (shards > 1)}, the longest"
        ways["shards", name] = Way(parts, WIDTH)
    samples: dict[Way, list[tuple[float, float]]] = {way: [] for way in ways.values()}
    began, turn = time.monotonic(), 0
    while turn < rounds and (not turn or time.monotonic() - began < SECONDS):
        turn += 1
        for way, every in samples.items():
            every.append(_run(way))
            tell(f"round {turn}, {way}: {every[-1][0]:.1f} s, {every[-1][1]:.0%} idle")
    rows: list[dict[str, Any]] = []
    firsts: dict[str, float] = {}
    for (kind, what), way in ways.items():
        wall, idle = (median(figures) for figures in zip(*samples[way], strict=True))
        ratio = wall / firsts.setdefault(kind, wall)
        rows.append({"kind": kind, "what": what, "wall": wall, "idle": idle, "ratio": ratio})
    fewest, most = rows[0], rows[len(CELLS) - 1]
    wall = (most["wall"] - fewest["wall"]) / (CELLS[-1] - CELLS[0])
    one = {"what": f"one more cell, -j {WIDTH}", "wall": wall, "ratio": wall / fewest["wall"]}
    return [*rows, {**most, **one}], turn


def _run(way: Way) -> tuple[float, float]:
    """Return the wall seconds of the longest part, and the median share that was idle."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        options = ["-k", CONTRACTS, "--reports", folder]
        took = [
            _nox([f"matrix({cell})" for cell in part], way.width, options) for part in way.parts
        ]
    return max(wall for wall, _ in took), median(idle for _, idle in took)


def _alternating() -> list[str]:
    """Return standalone cells, of each backend in turns."""
    alone = [cell for cell in load().lane("matrix") if cell.topology == STANDALONE]
    redis = [cell.id for cell in alone if cell.backend == "redis"]
    postgres = [cell.id for cell in alone if cell.backend == "postgres"]
    return [cell for pair in zip(redis, postgres, strict=False) for cell in pair]


def _nox(sessions: Sequence[str], width: int, options: Sequence[str]) -> tuple[float, float]:
    """Run sessions; return the wall seconds and the share of all cores that was idle."""
    command = [os.environ.get("NOX", sys.executable), "-m", "nox", "-j", str(width)]
    before, began = psutil.cpu_times(), time.monotonic()
    done = subprocess.run(
        [*command, "-s", *sessions, "--", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    wall, after = time.monotonic() - began, psutil.cpu_times()
    if done.returncode:
        raise BrokenError(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}")
    spent = [b - a for a, b in zip(before, after, strict=True)]
    idle = after.idle - before.idle + after.iowait - before.iowait
    return wall, idle / sum(spent)
