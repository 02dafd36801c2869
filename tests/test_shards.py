"""Shards: together they are the matrix, and each takes about as long."""

from __future__ import annotations

import json
from argparse import ArgumentTypeError
from pathlib import Path

import pytest

from harness.durations import expected, longest_first, record, recorded
from harness.matrix import Cell, load
from harness.shards import Shard, parse_shard
from harness.tables import MatrixError

CELLS = load().lane("matrix")
RECORDS: dict[str, dict[str, float]] = {
    "kept": recorded(),
    "none": {},
    "a new image": {k: v for k, v in recorded().items() if not k.startswith("redis7")},
    "one takes longest": {**recorded(), CELLS[0].id: 10_000.0},
}


@pytest.mark.parametrize("record", RECORDS)
@pytest.mark.parametrize("count", range(1, 9))
def test_shards_partition_the_matrix(count: int, record: str) -> None:
    """Each cell is in exactly one shard, whatever was recorded."""
    seconds = RECORDS[record]
    shards = [Shard(number + 1, count).of(CELLS, seconds) for number in range(count)]
    found = [cell.id for shard in shards for cell in shard]
    assert sorted(found) == sorted(cell.id for cell in CELLS)
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("record", RECORDS)
@pytest.mark.parametrize("count", range(1, 9))
def test_shards_take_about_as_long(count: int, record: str) -> None:
    """No shard takes longer than the mean and one cell; by what was recorded, not much longer."""
    seconds = RECORDS[record]
    takes = expected(CELLS, seconds)
    mean = sum(takes.values()) / count
    longest = max(_load(Shard(n + 1, count).of(CELLS, seconds), takes) for n in range(count))
    assert longest <= mean + max(takes.values())
    if record == "kept":
        assert longest <= 1.1 * mean


def test_more_shards_than_cells_leave_some_empty() -> None:
    """They have nothing, the others one cell each."""
    sizes = [len(Shard(number + 1, 60).of(CELLS, recorded())) for number in range(60)]
    assert sizes == [1] * len(CELLS) + [0] * (60 - len(CELLS))


def test_the_order_of_the_matrix_makes_no_difference() -> None:
    """Machines with another order of the same cells compute the same shards."""
    backwards = CELLS[::-1]
    for number in (1, 2, 3):
        one, other = (Shard(number, 3).of(cells, recorded()) for cells in (CELLS, backwards))
        assert {cell.id for cell in one} == {cell.id for cell in other}


def test_a_cell_without_a_record_takes_as_long_as_those_like_it() -> None:
    """Of its image and topology; then of its topology; then all."""
    one, *others = [cell for cell in CELLS if cell.image.name == "postgres16"]
    alike = {cell.id: 7.0 for cell in others if cell.topology == one.topology}
    assert expected(CELLS, alike)[one.id] == 7.0
    cluster = {"redis6_cluster": 50.0, "redis6_none_noeviction": 10.0}
    assert expected(CELLS, cluster)["redis7_cluster"] == 50.0
    assert expected(CELLS, cluster)["redis7_sentinel"] == 30.0


def test_the_longest_begins_first() -> None:
    """What takes longest must not be what all others wait for."""
    seconds = {cell.id: number for number, cell in enumerate(CELLS, 1)}
    assert longest_first(CELLS, seconds) == CELLS[::-1]


@pytest.mark.parametrize("text", ["0/3", "4/3", "x", "", "1", "1/0", "-1/3", "1/3/5", "1.5/3"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    """The message says what is allowed, and what was given."""
    with pytest.raises(ArgumentTypeError, match=r"must be NUMBER/COUNT, from 1/COUNT to COUNT"):
        parse_shard(text)


def test_a_record_keeps_what_it_knew(tmp_path: Path) -> None:
    """Cells that did not run this time stay; cells that are gone go."""
    path = tmp_path / "seconds.json"
    record({"a": 1.04, "b": 2.0, "gone": 3.0}, ["a", "b", "gone"], path)
    record({"b": 5.26}, ["a", "b"], path)
    assert json.loads(path.read_text()) == {"a": 1.0, "b": 5.3}


def test_a_broken_record_is_answered_with_one_line(tmp_path: Path) -> None:
    """The file, and what writes it anew."""
    path = tmp_path / "seconds.json"
    for text in ("<<<<<<< HEAD", "[]", '{"a": "long"}'):
        path.write_text(text)
        with pytest.raises(MatrixError, match=r"seconds\.json: not seconds by cell: .*--record"):
            recorded(path)


def _load(cells: list[Cell], takes: dict[str, float]) -> float:
    return sum(takes[cell.id] for cell in cells)
