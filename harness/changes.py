"""What becomes of the data when a row's server is started again as another row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from harness.tables import MatrixError, Table

IMAGE = "image"
CHANGE = "change"
"""The name of its measurements."""
FATES = ("kept", "kept_for_now", "refused", "lost")
"""What can become of data.

``kept_for_now``: it is there, but without the new row's protection: the next kill takes it,
though the new row promises to keep all. ``refused``: the server does not start on it.
``lost``: the server starts without it, and without a word.
"""
WAYS = {"restart": "changes", "dump and restore": "restores"}
"""Each way to bring data to another row, and its key in matrix.toml."""


@dataclass(frozen=True, slots=True)
class Change:
    """One cell's data, brought to another cell. The cells differ in one axis, or in the image."""

    origin: str
    target: str
    axis: str
    way: str
    fate: str

    def __str__(self) -> str:
        by = "" if self.way == "restart" else f", by {self.way}"
        return f"{self.origin} to {self.target}{by}"


@dataclass(frozen=True, slots=True)
class Fates:
    """What an axis value's row says: way -> another value of the axis, or an image -> fate."""

    of_way: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @staticmethod
    def read(table: Table, values: Iterable[str], images: Iterable[str]) -> Fates:
        """Take ``changes`` and ``restores`` of a row."""
        allowed = [*values, *images]
        return Fates({way: table.choices_table(key, allowed, FATES) for way, key in WAYS.items()})

    def each(self) -> Iterator[tuple[str, str, str]]:
        """Yield each way, target and fate."""
        for way, of_target in self.of_way.items():
            for target, fate in of_target.items():
                yield way, target, fate


def changes(
    cells: Mapping[str, tuple[str, Mapping[str, str]]],
    fates: Mapping[tuple[str, str], Fates],
    path: str,
) -> list[Change]:
    """Return the changes that a backend's rows speak of.

    ``cells`` are (image, values) by id; ``fates`` are by (axis, value). Each change begins in
    one cell of each image: the first that has the value, and a cell to go to. Raises MatrixError
    where no cell has one.
    """
    found = []
    ids = {_key(image, values): cell for cell, (image, values) in cells.items()}
    for (axis, value), row in fates.items():
        known = {values[axis] for _, values in cells.values()}
        for way, to, fate in row.each():
            begun: set[str] = set()
            for origin, (image, values) in cells.items():
                if values[axis] != value or to == image or image in begun:
                    continue
                at = _key(image, {**values, axis: to}) if to in known else _key(to, values)
                if at in ids:
                    begun.add(image)
                    changed = axis if to in known else IMAGE
                    found.append(Change(origin, ids[at], changed, way, fate))
            if not begun:
                where = f"[{path}.{axis}.{value}.{WAYS[way]}] {to}"
                raise MatrixError(f"{where}: no two cells differ in nothing but this")
    return found


def _key(image: str, values: Mapping[str, str]) -> tuple[str, ...]:
    return image, *(f"{axis}={value}" for axis, value in sorted(values.items()))
