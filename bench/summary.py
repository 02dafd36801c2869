"""docs/bench.md: what one run says, short enough to be committed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench.adapters.bare_redis import BARE, READING
from bench.goals import Verdict, verdicts
from bench.page import about

OPENING = """# How fast it is

<!-- Written by `nox -s bench -- --publish`, from one run's reports/bench.json: not by hand. -->

{about}

Everything is a ratio of what ran in turns on the same machine in the same minutes: a busy machine
slows all contestants alike. `nox -s bench` measures it again, and reports/bench.html has the
pictures and every figure.
"""


def summary(found: Mapping[str, Any]) -> str:
    """Return the page."""
    told = verdicts(found)
    parts = [OPENING.format(about=about(found) + ".")]
    if found.get("adapters"):
        parts.append(_adapters(found["adapters"], found.get("memory", ())))
    if found.get("peers"):
        parts.append(_peers(found["peers"]))
    if found.get("matrix"):
        parts.append(_matrix(found["matrix"]))
    parts.append(_goals(told))
    return "\n".join(parts)


def publish(found: Mapping[str, Any], path: Path) -> None:
    """Write the page."""
    path.write_text(summary(found), encoding="utf-8")


def _adapters(rows: Sequence[Mapping[str, Any]], memory: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        "## Adapters",
        "",
        "Our calls a second as a share of the bare driver's, which sends the same bytes in one",
        "round trip and neither checks nor reads them; for reads also beside the driver with",
        "`json.loads` of each record. The median over 1, 8 and 64 clients, and the worst.",
        "",
        "| | bare driver | worst | with JSON read | peer | times as fast |",
        "|---|---|---|---|---|---|",
    ]
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(f"{row['backend']} {row['face']}, {row['workload']['name']}", []).append(
            row
        )
    for name, every in groups.items():
        bare = [row["ratio"][BARE] for row in every]
        read = [row["ratio"][READING] for row in every if READING in row["ratio"]]
        peers = sorted({who for row in every for who in row["ratio"]} - {BARE, READING})
        ahead = [row["ratio"][peers[0]] for row in every if peers and peers[0] in row["ratio"]]
        lines.append(
            f"| {name} | {median(bare):.2f} | {min(bare):.2f} | {_middle(read)} | "
            f"{peers[0] if peers else ''} | {_middle(ahead)} |"
        )
    if memory:
        lines += ["", "| stored by | bytes on the server for a message of | |", "|---|---|---|"]
        lines += [f"| {m['who']} | {m['size']} bytes | {m['bytes']:.0f} |" for m in memory]
    return "\n".join([*lines, ""])


def _middle(ratios: Sequence[float]) -> str:
    return f"{median(ratios):.2f}" if ratios else ""


def _peers(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        "## From nothing to 20 tests that pass",
        "",
        "| server | with | first test | 20 tests |",
        "|---|---|---|---|",
    ]
    for row in rows:
        if row.get("twenty"):
            lines.append(
                f"| {row['server']} | {row['who']} | {row['first']:.2f} s | {row['twenty']:.2f} s |"
            )
        else:
            lines.append(f"| {row['server']} | {row['who']} | not run: {row['reason']} | |")
    return "\n".join([*lines, ""])


def _matrix(found: Mapping[str, Any]) -> str:
    lines = ["## The matrix", ""]
    if full := found.get("full"):
        lines += [
            f"The last whole run: {full['cells']} cells, {full['contracts']:,} contract runs,",
            f"{full['wall']:.0f} s of wall time,",
            f"{full['cell_seconds'] / full['wall']:.1f} cells at once.",
            "",
            "| phase | cell-seconds | share |",
            "|---|---|---|",
            *(
                f"| {name} | {s:.1f} | {s / full['cell_seconds']:.0%} |"
                for name, s in full["phases"].items()
            ),
            "",
        ]
    if scaling := found.get("scaling"):
        lines += [found["subset"], "", "| | wall | idle | of the first |", "|---|---|---|---|"]
        lines += [
            f"| {one['what']} | {one['wall']:.1f} s | {one['idle']:.0%} | {one['ratio']:.2f} |"
            for one in scaling
        ]
    return "\n".join([*lines, ""])


def _goals(told: Sequence[Verdict]) -> str:
    missed = [one for one in told if not one.reached]
    lines = [
        "## Goals",
        "",
        f"{len(told) - len(missed)} of {len(told)} were reached. The others, with the limit that",
        "was measured:",
        "",
        "| goal | measured | why not more |",
        "|---|---|---|",
        *(f"| {one.goal} | {one.measured} | {one.reason} |" for one in missed),
    ]
    return "\n".join([*lines, ""])
