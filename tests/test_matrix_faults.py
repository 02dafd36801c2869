"""One line for each way to break matrix.toml."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from harness.contracts import contract
from harness.matrix import load
from harness.tables import MatrixError

MATRICES = Path(__file__).parent / "matrices"
GOOD = (MATRICES / "good.toml").read_text(encoding="utf-8")
BROKEN = tomllib.loads((MATRICES / "broken.toml").read_text(encoding="utf-8"))


@contract("hyg-4")
@pytest.mark.parametrize("fault", BROKEN)
def test_every_fault_is_one_line_with_file_key_and_what_is_allowed(
    tmp_path: Path, fault: str
) -> None:
    """A broken matrix.toml gives one line: file, key, what is wrong, what is allowed."""
    old, new, said = (BROKEN[fault][key] for key in ("old", "new", "said"))
    assert GOOD.count(old) == 1, f"the good file must hold {old!r} once"
    path = tmp_path / "matrix.toml"
    path.write_text(GOOD.replace(old, new), encoding="utf-8")
    with pytest.raises(MatrixError) as caught:
        load(path)
    assert str(caught.value).startswith(f"matrix.toml: {said}"), str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@contract("hyg-4")
def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    """A missing file, a directory and bytes that are no text are told apart in one line each."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "bytes").write_bytes(b"[run]\xff")
    said = {}
    for name in ("missing", "folder", "bytes"):
        with pytest.raises(MatrixError) as caught:
            load(tmp_path / name)
        said[name] = str(caught.value)
    assert said == {
        "missing": "missing: cannot be read: No such file or directory",
        "folder": "folder: cannot be read: Is a directory",
        "bytes": "bytes: not TOML: 'utf-8' codec can't decode byte 0xff in position 5: "
        "invalid start byte",
    }


@contract("hyg-4")
def test_of_many_allowed_names_the_near_ones_are_told() -> None:
    """A slip in a long list is answered with the names it may have meant, on a short line."""
    with pytest.raises(MatrixError) as caught:
        load().cell("redis7_aof_alway_noeviction")
    assert "redis7_aof_always_noeviction" in str(caught.value)
    assert len(str(caught.value)) < 250
