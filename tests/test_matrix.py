"""matrix.toml: what it declares."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from harness.capabilities import PROMISED
from harness.matrix import PATH, STANDALONE, Cell, load
from harness.promises import EVENTS

GOOD = (Path(__file__).parent / "matrices" / "good.toml").read_text(encoding="utf-8")


def written(path: Path, text: str) -> Path:
    """Write a matrix.toml and return its path."""
    matrix = path / "matrix.toml"
    matrix.write_text(text, encoding="utf-8")
    return matrix


def test_good_file_loads(tmp_path: Path) -> None:
    """The file that the faults are made from has no fault itself."""
    matrix = load(written(tmp_path, GOOD))
    assert list(matrix.cells) == [
        "redis7_off_none",
        "redis7_off_lru",
        "redis7_on_none",
        "redis7_special",
        "fake",
    ]
    assert str(matrix.cells["redis7_special"].promises["power_cut"]) == "loses_tail 2"
    assert matrix.cells["redis7_off_none"].settings == {"databases": "1", "save": ""}


def test_a_new_cell_is_one_line(tmp_path: Path) -> None:
    """One line of `include` is one more cell, in the lanes of its image, with its own settings."""
    line = (
        '{ id = "redis7_small", image = "redis7", saving = "off", eviction = "none", '
        'settings = { maxmemory = "1mb" } },'
    )
    before = load(written(tmp_path, GOOD))
    after = load(written(tmp_path, GOOD.replace("include = [", f"include = [{line}")))
    added = set(after.cells) - set(before.cells)
    assert added == {"redis7_small"}
    assert "redis7_small" in after.lanes["matrix"]
    assert after.cells["redis7_small"].settings == {
        "databases": "1",
        "save": "",
        "maxmemory": "1mb",
    }


def test_settings_of_an_image_are_for_its_cells_alone(tmp_path: Path) -> None:
    """A row's own setting goes before them."""
    known = 'image = "redis:7.0", version = "7.0"'
    own = 'settings = { databases = "4", hz = "5" }'
    matrix = load(written(tmp_path, GOOD.replace(known, f"{known}, {own}")))
    assert matrix.cell("redis7_off_lru").settings == {"databases": "1", "hz": "5", "save": ""}
    assert "hz" not in matrix.cell("fake").settings


def test_what_is_promised_under_pressure_decides_what_a_cell_can_show() -> None:
    """Only rows that forget sessions have contracts about which; only the others refuse."""
    matrix = load()
    has = {
        kind: {name for name in PROMISED if not matrix.cell(f"redis7_rdb_{kind}").lacking(name)}
        for kind in ("noeviction", "allkeys_lru", "volatile_ttl")
    }
    assert has == {
        "noeviction": {"refusal"},
        "allkeys_lru": {"eviction"},
        "volatile_ttl": {"eviction", "lasting_sessions"},
    }


def test_registry_goes_before_the_image_and_the_environment_before_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """MATRIX_REGISTRY wins over the file's registry, an empty one over any."""
    image = load().cells["redis7_none_noeviction"].image
    monkeypatch.delenv("MATRIX_REGISTRY", raising=False)
    assert image.reference("") == "redis:7.0"
    assert image.reference("mirror.example/hub/") == "mirror.example/hub/redis:7.0"
    monkeypatch.setenv("MATRIX_REGISTRY", "localhost/stand-in")
    assert image.reference("mirror.example") == "localhost/stand-in/redis:7.0"
    monkeypatch.setenv("MATRIX_REGISTRY", "")
    assert image.reference("mirror.example") == "redis:7.0"


def test_the_real_matrix_has_the_cells_of_the_design() -> None:
    """At least 50 cells, with the ids that nox can select and a promise for every event."""
    matrix = load()
    cells = matrix.lane("matrix")
    assert len(cells) >= 50
    assert len({cell.id for cell in cells}) == len(cells)
    assert {cell.image.name for cell in cells} == {"redis6", "redis7", "postgres15", "postgres16"}
    for cell in cells:
        assert re.fullmatch("[a-z0-9_]+", cell.id)
        alone = cell.topology == STANDALONE
        assert set(cell.promises) == set(EVENTS) - ({"failover"} if alone else set())
        assert not cell.image.fake
    assert [cell.image.fake for cell in matrix.lane("fast")] == [True]
    assert [cell.image.name for cell in matrix.lane("smoke")] == [
        "redis6",
        "redis7",
        "postgres15",
        "postgres16",
    ]


def test_only_matrix_toml_names_an_image() -> None:
    """No other file of the harness and the suite names a server image."""
    images = {cell.image.image for cell in load().cells.values()} - {None}
    root = PATH.parent
    code = [root / "noxfile.py"]
    code += [
        p
        for folder in ("harness", "contract_tests", "stores")
        for p in root.glob(f"{folder}/**/*.py")
    ]
    for path in code:
        text = path.read_text(encoding="utf-8")
        assert not [image for image in images if f'"{image}"' in text], path


def test_pairwise_shows_every_pair_in_fewer_cells() -> None:
    """Every two values of two axes that meet in some cell meet in the lane `pairwise`."""
    matrix = load()
    every, few = matrix.lane("matrix"), matrix.lane("pairwise")
    assert pairs(few) == pairs(every)
    assert len(few) <= len(every) * 0.6


def pairs(cells: list[Cell]) -> set[tuple[object, ...]]:
    """Return every two values that meet in some cell."""
    return {
        pair
        for cell in cells
        for pair in itertools.combinations((cell.image.name, *cell.values.items()), 2)
    }
