"""Few of many combinations, in which every two values still meet."""

from __future__ import annotations

import itertools
from collections.abc import Mapping


def pairwise(combinations: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return the names of few combinations in which all pairs of values are that are in any.

    ``combinations`` are values by axis, by name. Greedy: always the one that shows the most
    pairs not yet seen; the first one on a tie.
    """
    pairs = {
        name: set(itertools.combinations(values.items(), 2))
        for name, values in combinations.items()
    }
    missing = set().union(*pairs.values())
    chosen: list[str] = []
    while missing:
        best = max(pairs, key=lambda name: len(pairs[name] & missing))
        chosen.append(best)
        missing -= pairs[best]
    return chosen
