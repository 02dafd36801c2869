"""What becomes of the data when a row's server is started again as another row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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


def changes(
    cells: Mapping[str, tuple[str, Mapping[str, str]]],
    fates: Mapping[tuple[str, str], Fates],
    path: str,
) -> list[Change]:
    """Return the changes that a backend's rows speak of.

    ``cells`` are (image, values) by id; ``fates`` are by (axis, value). Each change begins in
    one cell for each image: the first that has the value. Raises MatrixError where no cell is
    left for the data to come to.
    """
    found = []
    ids = {(image, *sorted(values.items())): cell for cell, (image, values) in cells.items()}
    for (axis, value), row in fates.items():
        for image in {image: None for image, _ in cells.values()}:
            origin = next((c for c, (i, v) in cells.items() if i == image and v[axis] == value), "")
            for way, of_target in row.of_way.items() if origin else ():
                for to, fate in of_target.items():
                    if to == image:
                        continue  # said for the cells of the other images
                    values = dict(cells[origin][1])
                    is_value = any(to == v[axis] for _, v in cells.values())
                    key = (image, {**values, axis: to}) if is_value else (to, values)
                    target = ids.get((key[0], *sorted(key[1].items())))
                    if target is None:
                        raise MatrixError(
                            f"[{path}.{axis}.{value}] {WAYS[way]}: no cell is {origin} but for {to}"
                        )
                    changed = axis if is_value else IMAGE
                    found.append(Change(origin, target, changed, way, fate))
    return found
