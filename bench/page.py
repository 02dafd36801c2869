"""reports/bench.html: every ratio as a picture and as a table, in one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from bench.adapters.bare_redis import BARE
from bench.adapters.ours import OURS
from bench.goals import LEAST_RATIO, Verdict, verdicts
from bench.plots import Bar, bars, table

STYLE = Path(__file__).with_name("page.css")
COLOURS = ("ours", "two", "three", "four", "other", "less")


def page(found: Mapping[str, Any]) -> str:
    """Return the page of one run."""
    told = verdicts(found)
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        '<meta name=viewport content="width=device-width, initial-scale=1">',
        f"<title>memory-matrix bench</title><style>{STYLE.read_text()}</style>",
        f"<h1>How fast is it?</h1><p class=soft>{escape(about(found))}</p>",
        _goals(told),
    ]
    if found.get("adapters"):
        parts.append(_adapters(found["adapters"], found.get("memory", ())))
    if found.get("peers"):
        parts.append(_peers(found["peers"]))
    if found.get("matrix"):
        parts.append(_matrix(found["matrix"]))
    return "\n".join([*parts, "</html>\n"])


def about(found: Mapping[str, Any]) -> str:
    """Return when and on what it was measured."""
    machine = found["machine"]
    return (
        f"{found['date']}, {machine['cores']} cores, {machine['memory_gb']} GB; load before it "
        f"{machine['load']:.1f}; medians of {found['rounds']} rounds, contestants in turns; "
        f"{found['seconds'] / 60:.0f} minutes"
    )


def _goals(told: Sequence[Verdict]) -> str:
    missed = [one for one in told if not one.reached]
    rows = [(one.goal, one.measured, one.reason) for one in missed]
    return (
        f"<h2>Goals</h2><p>{len(told) - len(missed)} of {len(told)} reached. The others:</p>"
        + table(["goal", "measured", "why not"], rows)
    )


def _adapters(rows: Sequence[Mapping[str, Any]], memory: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        "<h2>Adapters</h2><p>Calls a second, as a ratio of the bare driver's: the same bytes in",
        f"one round trip, checked and read by nobody. The goal is {LEAST_RATIO}.</p>",
    ]
    for backend in dict.fromkeys(row["backend"] for row in rows):
        for face in ("sync", "async"):
            mine = [row for row in rows if (row["backend"], row["face"]) == (backend, face)]
            shown = [_bar(row) for row in mine]
            lines.append(f"<h3>{backend}, {face}</h3>")
            lines.append(bars(shown, marks=[LEAST_RATIO, 1.0], most=2.5))
            figures = [_figures(row, name) for row in mine for name in row["of"]]
            head = ["", "clients", "who", "calls/s", "p50 µs", "p99 µs", "ours by it"]
            lines.append(f"<details><summary>figures</summary>{table(head, figures)}</details>")
    if memory:
        head = ["", "bytes a message", "for content of"]
        kept = [(m["who"], f"{m['bytes']:.0f}", f"{m['size']} bytes") for m in memory]
        lines.append("<h3>Memory on the server</h3>" + table(head, kept))
    return "\n".join(lines)


def _bar(row: Mapping[str, Any]) -> Bar:
    ratio = row["ratio"][BARE]
    colour = "ours" if ratio >= LEAST_RATIO else "less"
    return Bar(f"{row['workload']['name']} · {row['clients']}", ((colour, ratio),), f"{ratio:.2f}")


def _figures(row: Mapping[str, Any], name: str) -> list[str]:
    of, ratio = row["of"][name], row["ratio"].get(name)
    return [
        row["workload"]["name"],
        str(row["clients"]),
        name,
        f"{of['rate']:,.0f}",
        f"{of['p50'] * 1e6:,.0f}",
        f"{of['p99'] * 1e6:,.0f}",
        "" if ratio is None else f"{ratio:.2f}",
    ]


def _peers(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        "<h2>From nothing to tests that pass</h2><p>Wall time of a whole pytest run of 20 simple",
        "tests, its server included; the first part is until the first has passed.</p>",
    ]
    for server in dict.fromkeys(row["server"] for row in rows):
        mine = [row for row in rows if row["server"] == server]
        shown = [
            Bar(
                row["who"],
                (
                    ("ours" if row["who"] == OURS else "other", row["first"]),
                    ("two", max(0.0, row["twenty"] - row["first"])),
                ),
                f"{row['first']:.2f} s, {row['twenty']:.2f} s",
            )
            for row in mine
            if row.get("twenty")
        ]
        lines.append(f"<h3>{server}</h3>" + bars(shown))
        lines += [
            f"<p class=soft>{escape(row['who'])}: not run: {escape(row['reason'])}</p>"
            for row in mine
            if not row.get("twenty")
        ]
    return "\n".join(lines)


def _matrix(found: Mapping[str, Any]) -> str:
    lines = ["<h2>The matrix</h2>"]
    full = found.get("full")
    if full:
        lines.append(
            f"<p>The last whole run: {full['cells']} cells, {full['contracts']:,} contract runs, "
            f"{full['wall']:.0f} s of wall time, {full['cell_seconds']:.0f} cell-seconds.</p>"
        )
        phases = tuple(
            (COLOURS[n % len(COLOURS)], seconds)
            for n, seconds in enumerate(full["phases"].values())
        )
        said = f"{full['cell_seconds']:.0f} s"
        lines.append(bars([Bar("cell-seconds by phase", phases, said)]))
        rows = [
            (name, f"{s:.1f}", f"{s / full['cell_seconds']:.0%}")
            for name, s in full["phases"].items()
        ]
        lines.append(table(["phase", "cell-seconds", "share"], rows))
    if found.get("scaling"):
        ways = [
            (one["what"], f"{one['wall']:.1f}", f"{one['idle']:.0%}", f"{one['ratio']:.2f}")
            for one in found["scaling"]
        ]
        shown = [
            Bar(
                one["what"],
                (("ours", one["wall"]),),
                f"{one['wall']:.1f} s, {one['idle']:.0%} idle",
            )
            for one in found["scaling"]
        ]
        lines.append(f"<h3>Scaling</h3><p>{escape(found['subset'])}</p>" + bars(shown))
        lines.append(table(["", "wall s", "idle", "of its first"], ways))
    return "\n".join(lines)
