"""`--shard 2/5`: the cells of one machine of several, so that all take about as long."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.durations import expected, longest_first
from harness.matrix import Cell


@dataclass(frozen=True, slots=True)
class Shard:
    """One of ``count`` shards; the first has the number 1."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def of(self, cells: Sequence[Cell], seconds: Mapping[str, float]) -> list[Cell]:
        """Return the shard's cells, in the order given; none where there are more shards.

        Each cell is in one shard. The longest goes first, each to the shard with the least so far:
        no shard then takes longer than the mean and one cell (R. Graham, "Bounds on multiprocessing
        timing anomalies").
        """
        takes = expected(cells, seconds)
        loads = [0.0] * self.count
        own = set()
        for cell in longest_first(cells, seconds):
            least = loads.index(min(loads))
            loads[least] += takes[cell.id]
            if least == self.number - 1:
                own.add(cell.id)
        return [cell for cell in cells if cell.id in own]


def parse_shard(text: str) -> Shard:
    """Return a shard from a text like ``2/5``. Raises ArgumentTypeError: what is allowed."""
    found = re.fullmatch(r"([0-9]{1,4})/([0-9]{1,4})", text)
    shard = Shard(*map(int, found.groups())) if found else Shard(0, 0)
    if not 1 <= shard.number <= shard.count:
        raise ArgumentTypeError(f"must be NUMBER/COUNT, from 1/COUNT to COUNT/COUNT, not {text!r}")
    return shard
