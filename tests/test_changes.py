"""From a row's `changes` in matrix.toml to cells, between which data is brought."""

from __future__ import annotations

import pytest

from harness.changes import Change, Fates, changes
from harness.contracts import contract
from harness.matrix import load
from harness.tables import MatrixError, Table

CELLS = {
    f"{image}_{saving}_{room}": (image, {"saving": saving, "room": room})
    for image in ("old", "new")
    for saving in ("off", "on")
    for room in ("small", "large")
}


def row(**keys: object) -> Fates:
    """Return a row of the axis ``saving``."""
    return Fates.read(Table(keys, "backends.x.saving.off"), ["on"], ["old", "new"])


def found(cells: dict[str, tuple[str, dict[str, str]]], fates: Fates) -> list[Change]:
    """Return the changes of the axis value ``off``."""
    return changes(cells, {("saving", "off"): fates}, "backends.x")


def test_a_change_begins_in_the_first_cell_of_each_image() -> None:
    """The other axes stay as they are, and each change is made once an image."""
    assert found(CELLS, row(changes={"on": "lost"})) == [
        Change("old_off_small", "old_on_small", "saving", "restart", "lost"),
        Change("new_off_small", "new_on_small", "saving", "restart", "lost"),
    ]


def test_a_change_of_image_is_made_from_the_others() -> None:
    """What a row says of an image is of cells that have another."""
    assert found(CELLS, row(changes={"new": "kept"}, restores={"old": "refused"})) == [
        Change("old_off_small", "new_off_small", "image", "restart", "kept"),
        Change("new_off_small", "old_off_small", "image", "dump and restore", "refused"),
    ]


def test_cells_without_a_counterpart_are_passed_over() -> None:
    """Where the first cell's target is excluded, the next cell's is taken; none is a fault."""
    some = {name: cell for name, cell in CELLS.items() if name != "old_on_small"}
    origins = [change.origin for change in found(some, row(changes={"on": "lost"}))]
    assert origins == ["old_off_large", "new_off_small"]


@contract("hyg-4")
def test_a_change_that_no_cell_can_make_is_one_line() -> None:
    """A change to a row whose cells are all excluded gives one line with its key."""
    none = {name: cell for name, cell in CELLS.items() if "_on_" not in name}
    said = r"^\[backends.x.saving.off.changes\] on: no two cells differ in nothing but this$"
    with pytest.raises(MatrixError, match=said):
        found(none, row(changes={"on": "lost"}))


def test_the_matrix_changes_policies_and_images_on_every_backend() -> None:
    """Both directions of dur-5 and dur-6 are there, and cells differ in one thing alone."""
    matrix = load()
    kinds = {
        (matrix.cells[change.origin].backend, change.axis, change.way) for change in matrix.changes
    }
    assert kinds >= {
        ("redis", "persistence", "restart"),
        ("redis", "image", "restart"),
        ("postgres", "persistence", "restart"),
        ("postgres", "image", "restart"),
        ("postgres", "image", "dump and restore"),
    }
    for change in matrix.changes:
        origin, target = matrix.cells[change.origin], matrix.cells[change.target]
        differ = {axis for axis in origin.values if origin.values[axis] != target.values[axis]}
        differ |= {"image"} if origin.image != target.image else set()
        assert differ == {change.axis}, str(change)
