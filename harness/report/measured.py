"""What was lost, beside what was promised: of one event in a cell, and summed over like cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.matrix import Cell, Matrix
from harness.promises import EVENTS
from harness.report.results import FAILED, CellReport

Figures = Mapping[str, Any]
"""One measurement, as a contract noted it: its event, and what was seen of one store."""
OF = " of "
DISK = f"pressure{OF}disk"
EVENT_LABELS = (*EVENTS, DISK)
CAPABILITIES = {"pressure": "memory_pressure", DISK: "disk_pressure"}
"""What a cell needs for an event, where that is not the event's own name."""
CLASSES = (
    "kept all",
    "refused writes",
    "forgot expiring sessions",
    "forgot any session",
    "lost a tail",
    "lost all",
    "lost all, older too",
)
"""What can be seen of an event, from the mildest to the worst."""


def outcome_class(seen: Figures) -> str:
    """Return which of `CLASSES` a measurement shows."""
    if seen.get("forgotten_lasting"):
        return "forgot any session"
    if seen.get("forgotten_expiring"):
        return "forgot expiring sessions"
    if seen.get("lost", 0) and seen["lost"] >= seen.get("acknowledged", 0):
        return "lost all, older too" if seen.get("older_lost") else "lost all"
    if seen.get("lost", 0) or seen.get("older_lost"):
        return "lost a tail"
    return "refused writes" if seen.get("refused") else "kept all"


def label(seen: Figures) -> str:
    """Return the name of what was measured: the event, and of what, where that is not memory."""
    of = seen.get("of", "memory")
    return str(seen["event"]) if of == "memory" else f"{seen['event']}{OF}{of}"


def labels(reports: Iterable[CellReport]) -> list[str]:
    """Return the events that were measured, in the order of matrix.toml's promises."""
    seen = {label(m) for report in reports for result in report.results for m in result.measured}
    ordered = [(list(EVENTS).index(_event(one)), one) for one in seen if _event(one) in EVENTS]
    return [one for _, one in sorted(ordered)]


@dataclass(frozen=True, slots=True)
class Measured:
    """One event of one cell, or of several that promise the same for the same reason."""

    promise: str
    seen: tuple[Figures, ...]
    events: int
    """How often it happened. Several stores may have been measured in one happening."""
    broken: int = 0
    """How many of the contracts that measured it failed."""

    def total(self, name: str) -> int:
        """Add a figure up."""
        return sum(int(seen.get(name, 0)) for seen in self.seen)

    @property
    def worst(self) -> Figures:
        """The measurement with the greatest loss."""
        return max(self.seen, key=lambda seen: (_rank(seen), *_loss(seen)))

    @property
    def outcome(self) -> str:
        """The worst class that was seen; all is lost where nothing of all events is left."""
        worst = outcome_class(self.worst)
        kept_some = self.total("lost") < self.total("acknowledged")
        return "lost a tail" if worst == "lost all" and kept_some else worst

    @property
    def worst_seconds(self) -> float:
        """The age of the oldest write that was lost in any of the events."""
        return max(float(seen.get("lost_seconds", 0)) for seen in self.seen)

    def figures(self) -> str:
        """Return how much was lost."""
        lost, of = self.total("lost"), self.total("acknowledged")
        if not self.outcome.startswith("lost"):
            return f"{lost} of {of}"
        share = "all" if lost == of else f"{lost} of"
        return f"{share} {of}, up to {self.worst_seconds:.2f} s"

    def said(self) -> str:
        """Return what was lost, in a few words."""
        plain = self.outcome == "kept all" or self.outcome.startswith("lost")
        return self.figures() if plain else f"{self.outcome}: {self.figures()}"

    def plain(self) -> dict[str, Any]:
        """Return it as matrix.json has it."""
        return {
            "promise": self.promise,
            "events": self.events,
            "broken": self.broken,
            "acknowledged": self.total("acknowledged"),
            "lost": self.total("lost"),
            "lost_seconds": self.worst_seconds,
            "outcome": self.outcome,
            "outcomes": dict(Counter(outcome_class(seen) for seen in self.seen)),
            "worst": dict(self.worst),
        }


@dataclass(frozen=True, slots=True)
class Sum:
    """An event, over the cells of an image that agree in the axes that promises depend on."""

    image: str
    values: Mapping[str, str]
    event: str
    cells: int
    measured: Measured

    @property
    def row(self) -> str:
        """The axis values, for people."""
        return ", ".join(self.values.values()) or "all rows"

    def plain(self) -> dict[str, Any]:
        """Return it as matrix.json has it."""
        place = {"image": self.image, "values": dict(self.values), "event": self.event}
        return {**place, "cells": self.cells, **self.measured.plain()}


def measured(matrix: Matrix, report: CellReport, event: str) -> Measured | None:
    """Return what a cell measured of an event, by its label; None where it measured nothing."""
    promise = matrix.cells[report.cell].promises.get(_event(event))
    found = [(r, m) for r in report.results for m in r.measured if label(m) == event]
    if not found or promise is None:
        return None
    seen = tuple(m for _, m in found)
    broken = {result.test for result, _ in found if result.outcome in FAILED}
    return Measured(str(promise), seen, _happenings(seen), len(broken))


def sums(matrix: Matrix, reports: Sequence[CellReport]) -> list[Sum]:
    """Return the sums of every event that was measured, in the matrix's order."""
    found: dict[tuple[str, str, tuple[tuple[str, str], ...]], list[Measured]] = {}
    for event in labels(reports):
        axes = deciding_axes(matrix, event)
        for report in reports:
            one, cell = measured(matrix, report, event), matrix.cells[report.cell]
            if one is not None:
                values = tuple((axis, cell.values[axis]) for axis in axes[tuple(cell.values)])
                found.setdefault((event, cell.image.name, values), []).append(one)
    return [
        Sum(image, dict(values), event, len(every), _joined(every))
        for (event, image, values), every in found.items()
    ]


def deciding_axes(matrix: Matrix, event: str) -> dict[tuple[str, ...], list[str]]:
    """Return, by the axes that cells have, those of them that decide what an event may cost."""
    return {family: _deciding(cells, _event(event)) for family, cells in _families(matrix)}


def promised(cell: Cell, event: str) -> str:
    """Return what a cell promises for an event, by its label; nothing where it says nothing."""
    return str(cell.promises.get(_event(event), ""))


def lacking(cell: Cell, event: str) -> str | None:
    """Return why an event, by its label, does not apply to a cell; None if it does."""
    return cell.lacking(CAPABILITIES.get(event, event))


def neighbours(cells: Iterable[Cell], axis: str) -> Iterator[tuple[Cell, Cell]]:
    """Yield each two cells of one image that differ in the axis alone."""
    alike: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in cells:
        others = tuple(value for name, value in cell.values.items() if name != axis)
        for before in alike.setdefault((cell.image.name, others), []):
            yield before, cell
        alike[cell.image.name, others].append(cell)


def _event(label: str) -> str:
    return label.partition(OF)[0]


def _families(matrix: Matrix) -> Iterator[tuple[tuple[str, ...], list[Cell]]]:
    """Yield the cells that have the same axes."""
    found: dict[tuple[str, ...], list[Cell]] = {}
    for cell in matrix.cells.values():
        found.setdefault(tuple(cell.values), []).append(cell)
    yield from found.items()


def _deciding(cells: list[Cell], event: str) -> list[str]:
    """Return the axes that decide what is promised for an event; else for any event; else all."""
    for events in ([event], list(EVENTS)):
        axes = [
            axis
            for axis in cells[0].values
            for one, other in neighbours(cells, axis)
            if any(one.promises.get(name) != other.promises.get(name) for name in events)
        ]
        if axes:
            return list(dict.fromkeys(axes))
    return list(cells[0].values)


def _joined(every: list[Measured]) -> Measured:
    seen = tuple(one for measured in every for one in measured.seen)
    events = sum(measured.events for measured in every)
    return Measured(every[0].promise, seen, events, sum(measured.broken for measured in every))


def _happenings(seen: tuple[Figures, ...]) -> int:
    numbers = {one["happening"] for one in seen if "happening" in one}
    return len(numbers) + sum("happening" not in one for one in seen)


def _rank(seen: Figures) -> int:
    return CLASSES.index(outcome_class(seen))


def _loss(seen: Figures) -> tuple[int, float]:
    return int(seen.get("lost", 0)), float(seen.get("lost_seconds", 0))
