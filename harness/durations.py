"""How long each cell takes: what shards are balanced by. Standard library only.

The record is a file of the repository, so that machines that know nothing of each other compute
the same shards. Only the proportions matter: another machine may be faster.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from harness.matrix import Cell
from harness.tables import MatrixError

RECORD = Path(__file__).resolve().parent / "seconds.json"
RECORDED_BY = "`nox -s report -- --record` writes it"


def recorded(path: Path = RECORD) -> dict[str, float]:
    """Return the seconds that cells took, by id; nothing where none were ever recorded.

    Raises MatrixError: one line that tells how to make the file.
    """
    try:
        seconds = json.loads(path.read_text(encoding="utf-8"))
        return {str(cell): float(took) for cell, took in seconds.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise MatrixError(f"{path.name}: not seconds by cell: {error}; {RECORDED_BY}") from error


def record(found: Mapping[str, float], known: Collection[str], path: Path = RECORD) -> None:
    """Keep the seconds of these cells; of others, what was recorded, unless they are gone."""
    kept = {**recorded(path), **found}
    seconds = {cell: round(kept[cell], 1) for cell in sorted(kept) if cell in known}
    path.write_text(json.dumps(seconds, indent=1) + "\n", encoding="utf-8")


def expected(cells: Sequence[Cell], seconds: Mapping[str, float]) -> dict[str, float]:
    """Return the seconds to expect of each cell.

    A cell that was never recorded takes as long as those like it: of its image and topology, else
    of its topology, else all; without any record every cell is alike.
    """
    return {cell.id: seconds.get(cell.id) or _of_alike(cell, cells, seconds) for cell in cells}


def longest_first(cells: Sequence[Cell], seconds: Mapping[str, float]) -> list[Cell]:
    """Return the cells as a run should begin them: what takes longest must not begin last."""
    takes = expected(cells, seconds)
    return sorted(cells, key=lambda cell: (-takes[cell.id], cell.id))


def _of_alike(cell: Cell, cells: Sequence[Cell], seconds: Mapping[str, float]) -> float:
    topology = [one for one in cells if one.topology == cell.topology]
    image = [one for one in topology if one.image == cell.image]
    for alike in (image, topology, cells):
        found = [seconds[one.id] for one in alike if seconds.get(one.id)]
        if found:
            return sum(found) / len(found)
    return 1.0
