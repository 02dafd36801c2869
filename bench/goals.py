"""What was aimed at, and what came of it: each missed goal with the limit that was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.adapters.bare_redis import BARE, READING
from bench.adapters.ours import OURS
from bench.adapters.workloads import FLAT

LEAST_RATIO = 0.8
FLATNESS = 0.8
"""A rate that depends on the history's length falls to a hundredth; less than a fifth is noise."""
FULL_SECONDS, OVERHEAD, FAST_SECONDS = 90.0, 1.5, 1.5

ATTESTED = (
    "ours also sweeps what killed runs left, gives the server a disk of its own, and attests it"
)
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One goal: how much of it was reached, and why not more."""

    goal: str
    reached: bool
    measured: str
    reason: str = ""


def verdicts(found: Mapping[str, Any]) -> list[Verdict]:
    """Return what became of every goal that this run measured."""
    adapters: Sequence[Row] = found.get("adapters", ())
    every = [*_limits(adapters), *_peers(adapters), *_flat(adapters)]
    return [*every, *_first(found.get("peers", ())), *_matrix(found.get("matrix") or {})]


def place(row: Row) -> str:
    """Return a row's name."""
    clients = "1 client" if row["clients"] == 1 else f"{row['clients']} clients"
    return f"{row['backend']} {row['face']}, {row['workload']['name']}, {clients}"


def _limits(rows: Sequence[Row]) -> Iterator[Verdict]:
    for row in rows:
        ratio = row["ratio"][BARE]
        measured = f"{ratio:.2f} of {row['of'][BARE]['rate']:,.0f}/s"
        yield Verdict(
            f"{LEAST_RATIO} of the bare driver: {place(row)}",
            ratio >= LEAST_RATIO,
            measured,
            "" if ratio >= LEAST_RATIO else _reason(row),
        )


def _reason(row: Row) -> str:
    """Return where the time goes: what is measured beside it says how much can be had."""
    ours, bare = row["of"][OURS]["p50"] * 1e6, row["of"][BARE]["p50"] * 1e6
    if READING in row["of"]:
        read = row["of"][READING]["p50"] * 1e6
        return (
            f"p50 {ours:.0f} µs against {bare:.0f} µs for bytes that nobody has read; with "
            f"json.loads of each record alone it is {read:.0f} µs"
        )
    what = {
        "postgres": "the atomic step is a function that locks the session's row, checks expiry, "
        "id and fence, and then writes: more work for the server than one UPDATE and INSERT",
        "redis": "checks, the record's encoding and the deadline are Python's work",
    }[row["backend"]]
    return f"p50 {ours:.0f} µs against {bare:.0f} µs: {what}"


def _peers(rows: Sequence[Row]) -> Iterator[Verdict]:
    for row in rows:
        for name, ratio in row["ratio"].items():
            if name not in {BARE, READING}:
                yield Verdict(
                    f"ahead of {name}: {place(row)}",
                    ratio >= 1,
                    f"{ratio:.2f} times as fast",
                    "" if ratio >= 1 else "it reads less, checks nothing and encodes less",
                )


def _flat(rows: Sequence[Row]) -> Iterator[Verdict]:
    found = {
        (row["backend"], row["face"], row["workload"]["name"], row["clients"]): row["of"][OURS]
        for row in rows
    }
    for (backend, face, name, clients), short in found.items():
        for one, other in FLAT:
            long = found.get((backend, face, other.name, clients))
            if name == one.name and long:
                ratio = long["rate"] / short["rate"]
                yield Verdict(
                    f"flat: {backend} {face}, {other.name} beside {one.name}, {clients} clients",
                    ratio >= FLATNESS,
                    f"{ratio:.2f}",
                    "" if ratio >= FLATNESS else "measured minutes apart, not in turns",
                )


def _first(rows: Sequence[Row]) -> Iterator[Verdict]:
    for server in sorted({row["server"] for row in rows}):
        mine = next((r for r in rows if r["server"] == server and r["who"] == OURS), None)
        for row in rows:
            if mine and row is not mine and row["server"] == server and row.get("twenty"):
                ahead = mine["twenty"] <= row["twenty"]
                yield Verdict(
                    f"20 tests on {server} sooner than {row['who']}",
                    ahead,
                    f"{mine['twenty']:.2f} s against {row['twenty']:.2f} s",
                    "" if ahead else row.get("why") or ATTESTED,
                )


def _matrix(found: Row) -> Iterator[Verdict]:
    full = found.get("full") or {}
    if full.get("wall"):
        wall = full["wall"]
        reached = wall <= FULL_SECONDS
        where = ", ".join(f"{name} {s:.0f} s" for name, s in full["phases"].items())
        why = f"cell-seconds by phase: {where}; on {full['cores']} cores"
        yield Verdict(
            f"the whole matrix in {FULL_SECONDS:g} s",
            reached,
            f"{wall:.0f} s",
            "" if reached else why,
        )
    if full.get("overhead"):
        reached = full["overhead"] <= OVERHEAD
        yield Verdict(
            f"at most {OVERHEAD:g} times what cannot be avoided",
            reached,
            f"{full['overhead']:.2f} times",
            "" if reached else str(full.get("floor_said", "")),
        )
    if fast := found.get("fast"):
        reached = fast["warm"] <= FAST_SECONDS
        yield Verdict(
            f"nox -s fast in {FAST_SECONDS:g} s, warm",
            reached,
            f"{fast['warm']:.2f} s",
            "" if reached else f"of which the contracts take {fast['contracts']:.2f} s",
        )
