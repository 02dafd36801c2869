"""Sessions that lie in one part of the server's data, which another server takes as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import count

from harness.inspectors import Inspector
from stores.interface import MemoryStore

Stores = Mapping[str, tuple[MemoryStore, Inspector]]
STEM = "at"


def part_of(stores: Stores) -> int:
    """Return the part of the data in which the sessions of several stores are to lie."""
    return _first(stores).part_of(STEM)


def key_of(stores: Stores) -> bytes:
    """Return a key by which the server finds that part."""
    return _first(stores).owner_of(STEM).encode()


def sessions_in(inspector: Inspector, part: int, names: Iterable[str]) -> list[str]:
    """Return session ids that end with these names and lie in a part of the data.

    What follows a brace takes no part in the choice of a session's part, where there are parts.
    """
    stems = (f"{STEM} {number}" if number else STEM for number in count())
    stem = next(stem for stem in stems if inspector.part_of(stem) == part)
    found = [f"{stem}}}{name}" for name in names]
    assert {inspector.part_of(session_id) for session_id in found} == {part}
    return found


def _first(stores: Stores) -> Inspector:
    _, inspector = next(iter(stores.values()))
    return inspector
