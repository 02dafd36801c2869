"""Everything that a reader needs of each failure: what the rule says, what happened, the way back.

Failures are told contract by contract, because one bug fails one contract in many cells.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from harness.report.excerpt import Excerpt, ServerLog
from harness.report.failure import Failure
from harness.report.island import Places
from harness.report.results import CellReport, Result
from harness.report.timeline import Picture, of_calls, pictures

SHOWN = 300
"""Failures that are told in full. Where more fail, one bug fails them all."""
EVENT_SECONDS = 3.0
"""Of the server's log that are shown after an event: it starts again, and says how."""


@dataclass(slots=True)
class Broken:
    """What failed."""

    contracts: list[dict[str, Any]] = field(default_factory=list)
    pictures: list[tuple[str, Picture]] = field(default_factory=list)
    """Each picture once, with its id: many failures may show the same event."""
    places: Places = field(default_factory=dict)
    left_out: int = 0


def broken(cells: Sequence[CellReport], reports: Path) -> Broken:
    """Return the failures, in the catalogue's order."""
    found = Broken()
    contracts: dict[str, list[tuple[CellReport, Result]]] = {}
    failed = [(cell, result) for cell in cells for result in cell.failed]
    for cell, result in sorted(failed, key=lambda pair: pair[1].place):
        contracts.setdefault(result.name, []).append((cell, result))
    folders = {cell.cell: _Folder(reports / cell.cell, cell) for cell, _ in failed}
    for name, every in contracts.items():
        first = every[0][1]
        shown = every[: max(0, SHOWN - len(found.places))]
        found.left_out += len(every) - len(shown)
        if not shown:
            continue
        occurrences = []
        for cell, result in shown:
            anchor = f"failure-{len(found.places) + 1}"
            found.places[cell.cell, result.test] = anchor
            occurrences.append(_told(anchor, cell, result, folders[cell.cell], found))
        found.contracts.append(
            {
                "name": name,
                "rules": first.failure.rules if first.failure else [first.rule],
                "sentence": first.sentence,
                "check": " ".join(first.failure.check) if first.failure else "",
                "count": len(every),
                "cells": len({cell.cell for cell, _ in every}),
                "failures": occurrences,
            }
        )
    return found


def _told(
    anchor: str, cell: CellReport, result: Result, folder: _Folder, found: Broken
) -> dict[str, Any]:
    failure = result.failure or Failure.read({})
    return {
        "id": anchor,
        "cell": cell.cell,
        "store": result.store,
        "parameters": parameters(result),
        "outcome": result.outcome,
        "seconds": result.seconds,
        "message": result.message or result.reason,
        "failure": failure,
        "pictures": folder.pictures(failure, found),
        "histories": [(name, _link(cell.cell, name)) for name in failure.histories],
        "log": folder.log(result, failure),
        "log_file": _link(cell.cell, "server.log"),
        "results_file": _link(cell.cell, "results.jsonl"),
    }


def parameters(result: Result) -> str:
    """Return what a contract ran with, beside its store."""
    parts = result.variant.replace(result.store, "", 1) if result.store else result.variant
    return parts.strip("-").replace("--", "-")


class _Folder:
    """What a cell left, read when it is needed."""

    def __init__(self, path: Path, cell: CellReport) -> None:
        self._path = path
        self._cell = cell
        self._pictures: dict[tuple[str, ...], list[str]] = {}
        self._log: ServerLog | None = None
        self._moments: dict[str, float] = {}

    def pictures(self, failure: Failure, found: Broken) -> list[str]:
        """Return the ids of what shows the failure; draw what was not drawn yet."""
        names = tuple(failure.histories)
        if not names:
            drawn = of_calls(failure.calls)
            return [_added(drawn, found)] if drawn else []
        if names not in self._pictures:
            records = [self._record(name) for name in names]
            self._pictures[names] = [_added(one, found) for one in pictures(records)]
        return self._pictures[names]

    def log(self, result: Result, failure: Failure) -> Excerpt:
        """Return the server's log around the failure, or around the event that it judges."""
        if self._log is None:
            results = self._cell.results
            ended = max(one.began + one.seconds for one in results)
            try:
                text = (self._path / "server.log").read_text(encoding="utf-8", errors="replace")
            except OSError:
                text = ""
            self._log = ServerLog(text, ended)
        moments = [self._moments[name] for name in failure.histories if name in self._moments]
        if moments:
            return self._log.around(min(moments), max(moments) + EVENT_SECONDS)
        return self._log.around(result.began, result.began + result.seconds)

    def _record(self, name: str) -> dict[str, Any]:
        """Return a kept history; an empty one where it cannot be read."""
        path = (self._path / name).resolve()
        if not path.is_relative_to(self._path.resolve()):
            return {}
        try:
            record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if "event_ns" in record:
                self._moments[name] = (record["event_ns"] + record["unix_ns"]) / 1e9
        except (OSError, ValueError, TypeError, KeyError):
            return {}
        return record


def _added(picture: Picture, found: Broken) -> str:
    anchor = f"picture-{len(found.pictures) + 1}"
    found.pictures.append((anchor, picture))
    return anchor


def _link(cell: str, name: str) -> str:
    return quote(f"{cell}/{name}")
