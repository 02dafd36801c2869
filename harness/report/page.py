"""reports/index.html: the whole report as one page that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from harness.matrix import Matrix
from harness.report.broken import broken
from harness.report.cell_facts import cell_facts, short_name
from harness.report.decisions import Block, decisions
from harness.report.grid import MARKS
from harness.report.island import island, worst
from harness.report.measured import DISK
from harness.report.merge import totals
from harness.report.results import GROUPS, OUTCOMES, CellReport
from harness.report.secrets import hide_passwords, without_passwords
from harness.report.sections import alike, changes, durations, not_applicable, not_run

TEMPLATES = Path(__file__).parent / "templates"
SIGNS = {**{outcome: sign for outcome, (sign, _) in MARKS.items()}, "pass": "✓"}
NAMES = {
    "conv": "conversation",
    "ctx": "context",
    "val": "values and records",
    "iso": "isolation",
    "ttl": "expiry",
    "con": "concurrency",
    "net": "broken networks",
    "srv": "servers that refuse",
    "evi": "eviction",
    "dur": "durability",
    "lock": "locks",
    "top": "topologies",
}
"""What the groups of the catalogue are about."""
BETWEEN_TAGS = re.compile(r">\n\s*<")
"""Line ends that only the templates need: a browser would make a node of each."""
EVENT_NAMES = {"power_cut": "power cut", "pressure": "full memory", DISK: "full disk"}
"""Of events whose own names say less."""


def page(matrix: Matrix, cells: Sequence[CellReport], reports: Path) -> str:
    """Return the page. ``reports`` is the folder that it will be in, beside those of the cells."""
    templates = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=_finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = (
        (TEMPLATES / name).read_text(encoding="utf-8") for name in ("style.css", "script.js")
    )
    names = list(dict.fromkeys(matrix.cells[cell.cell].image.name for cell in cells))
    by_image = sorted(cells, key=lambda cell: names.index(matrix.cells[cell.cell].image.name))
    text = templates.get_template("index.html").render(
        **_context(matrix, by_image, reports),
        style=Markup(style),  # noqa: S704 - a file of ours
        script=Markup(script),  # noqa: S704 - the same
        # No other script runs, and nothing is loaded, whatever text a failure brings along.
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    return BETWEEN_TAGS.sub("><", text)


def _finalize(value: object) -> object:
    """Leave passwords out of every text that a template shows."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return without_passwords(value)
    return value


def _context(matrix: Matrix, cells: Sequence[CellReport], reports: Path) -> dict[str, Any]:
    counts = totals(cells)
    groups = [group for group in GROUPS if any(cell.counts(group) for cell in cells)]
    failures = broken(cells, reports)
    return {
        "counts": [(outcome, SIGNS[outcome], counts[outcome]) for outcome in OUTCOMES],
        "headline": _headline(cells),
        "about": _about(cells),
        "ran": sum(cell.outcome == "done" for cell in cells),
        "signs": SIGNS,
        "event_names": EVENT_NAMES,
        "outcomes": list(OUTCOMES),
        "decisions": [_block(block) for block in decisions(matrix, cells)],
        "images": Counter(matrix.cells[cell.cell].image.name for cell in cells),
        "backends": sorted({matrix.cells[cell.cell].backend for cell in cells}),
        "lanes": [
            lane for lane, ids in matrix.lanes.items() if any(cell.cell in ids for cell in cells)
        ],
        "columns": [(cell.cell, short_name(matrix.cells[cell.cell])) for cell in cells],
        "groups": [_group(group, cells) for group in groups],
        "broken": failures,
        "pictures": dict(failures.pictures),
        "cells": [cell_facts(matrix, cell, groups, reports) for cell in cells],
        "left": [section(matrix, cells) for section in (not_run, not_applicable)],
        "more": [section(matrix, cells) for section in (changes, alike, durations)],
        "island": hide_passwords(island(matrix, cells, failures.places)),
    }


def _headline(cells: Sequence[CellReport]) -> tuple[str, str]:
    """Return the outcome of the run, and what it is in words."""
    failed = [cell for cell in cells if cell.failed]
    missing = sum(cell.outcome != "done" for cell in cells)
    left = totals(cells)["not run"]
    many = f"{len(cells)} cells" if len(cells) != 1 else "1 cell"
    said = []
    if failed:
        count = sum(len(cell.failed) for cell in failed)
        contracts = "contract" if count == 1 else "contracts"
        said.append(f"{count:,} {contracts} failed, in {len(failed)} of {many}")
    if missing or not cells:
        said.append(f"{missing} of {many} did not run to the end")
    elif left:
        said.append(f"{left:,} contracts did not run, in {many}")
    if said:
        return "fail" if failed else "not run", "; ".join(said)
    return "pass", f"Every contract that applies is kept, in {many}"


def _about(cells: Sequence[CellReport]) -> list[str]:
    """Return when it was measured, for how long, and on what."""
    results = [result for cell in cells for result in cell.results if result.began]
    if not results:
        return []
    began = min(result.began for result in results)
    ended = max(result.began + result.seconds for result in results)
    versions = sorted({str(cell.facts["version"]) for cell in cells if "version" in cell.facts})
    providers = sorted({str(cell.facts["provider"]) for cell in cells if "provider" in cell.facts})
    first, last = (datetime.fromtimestamp(moment, UTC) for moment in (began, ended))
    return [
        f"{first:%Y-%m-%d %H:%M} to {last:%H:%M} UTC",
        f"{sum(cell.seconds for cell in cells) / 60:.1f} minutes of contracts",
        f"server versions {', '.join(versions)}",
        f"provider {', '.join(providers)}",
    ]


def _group(group: str, cells: Sequence[CellReport]) -> dict[str, Any]:
    """Return a group's row of the grid: in each cell the worst outcome, and how often."""
    counts = [cell.counts(group) for cell in cells]
    return {
        "id": group,
        "name": NAMES.get(group, ""),
        "contracts": len({r.name for cell in cells for r in cell.results if r.group == group}),
        "cells": [
            (found := worst(each) or ("not run" if cell.outcome != "done" else ""), each[found])
            for cell, each in zip(cells, counts, strict=True)
        ],
    }


def _block(block: Block) -> dict[str, Any]:
    """Return a table to decide by: the rows of one backend, the events across."""
    return {
        "title": f"{block.backend.capitalize()} by {' and '.join(block.axes)}",
        "events": block.events,
        "rows": [
            {
                "image": row.image,
                "values": ", ".join(row.values.values()) or "all rows",
                "cells": len(row.cells),
                "verdicts": [row.events.get(event) for event in block.events],
            }
            for row in block.rows
        ],
    }
