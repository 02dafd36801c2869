"""What the words of a nox run ask for: which cells, and how. Standard library only.

The noxfile asks at every start, and each of nox's workers asks again: all have the same words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.durations import longest_first, recorded
from harness.matrix import Cell, Matrix, load
from harness.options import Options, parse
from harness.own_stores import Environment, environment, with_stores
from harness.tables import MatrixError

OWN_OPTIONS = {"report", "up", "down", "compose", "subjects", "bench"}
"""Sessions whose options behind ``--`` are not those of the suite."""
NO_CELL = "no_cell"
"""The name that a session has where it has no cell: nox runs it, and it says why."""
OF_CELLS = ("matrix", "smoke", "-t", "--tags")
"""How words begin that select sessions of one cell each."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One run of nox."""

    words: Sequence[str]
    """The words before ``--``."""
    options: Options
    matrix: Matrix
    environment: Environment
    """Where it runs."""
    seconds: Mapping[str, float]
    """What cells take, as it is recorded."""
    cells: Mapping[str, list[Cell]]
    """The cells of the sessions ``matrix``, ``smoke`` and ``fast``, the longest first."""
    clients: Sequence[str]
    """The clients that are named; all run where none is."""
    only_elsewhere: bool
    """Whether there are cells, and all are in other shards."""

    @property
    def is_worker(self) -> bool:
        """Whether a nox above this one started it for one session."""
        return "--parallel-worker" in self.words

    @property
    def lists(self) -> bool:
        """Whether it only lists what there is."""
        return bool({"-l", "--list", "--list-sessions"} & set(self.words))

    @property
    def runs_cells(self) -> bool:
        """Whether its sessions are cells, of which several run at once."""
        return any(word.startswith(OF_CELLS) for word in self.words)

    @property
    def runs_clients(self) -> bool:
        """Whether its sessions are clients."""
        return any(word.startswith("clients") for word in self.words)

    def cells_with(self, client: str) -> list[Cell]:
        """Return the cells that a client runs."""
        options = self.options
        chosen = self.matrix.cells_with(client, options.lane, options.stores)
        return [cell for cell in chosen if options.cell in {None, cell.id}]

    @property
    def why_no_cell(self) -> str:
        """Why a session has no cell."""
        if self.only_elsewhere:
            return f"shard {self.options.shard} is empty: others have the cells"
        return f"no cell here runs {', '.join(self.options.stores) or self.options.cell}"


def asked(arguments: Sequence[str]) -> Asked:
    """Read the arguments of nox. Raises MatrixError: one line with what is wrong or allowed.

    Prints the help and exits, where it is asked for, and on a wrong option.
    """
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    words, behind = arguments[:cut], arguments[cut + 1 :]
    options = parse([] if _explains_itself(words, behind) else behind)
    matrix, seconds = with_stores(load(), options.stores, options.backend), recorded()
    lanes = {
        session: matrix.cells_of(lane, options.stores)
        for session, lane in (
            ("matrix", options.lane or "matrix"),
            ("smoke", "smoke"),
            ("fast", "fast"),
        )
    }
    chosen = {
        session: longest_first(
            options.shard.of(cells, seconds) if options.shard else cells, seconds
        )
        for session, cells in lanes.items()
    }
    named = _names(r"(?:matrix|smoke)\((\w+)\)", words)
    for name in [*named, *([options.cell] if options.cell else [])]:
        matrix.cell(name)
    if options.cell:
        chosen = {
            session: [cell for cell in cells if cell.id == options.cell]
            for session, cells in chosen.items()
        }
    clients = _names(r"clients\((\w+)\)", words)
    for name in clients:
        matrix.cells_with(name, options.lane, options.stores)
    elsewhere = options.shard is not None and any(lanes.values())
    place = environment(matrix, options.stores, options.with_)
    found = Asked(words, options, matrix, place, seconds, chosen, clients, elsewhere)
    one_row = options.cell or len(named) == 1 or found.is_worker
    if options.provider == "external" and not one_row:
        raise MatrixError("a server is one row of matrix.toml: say which, with --cell ID")
    return found


def _explains_itself(words: Sequence[str], behind: Sequence[str]) -> bool:
    """Whether a session reads its options itself; leaks shares those of stores, not the help."""
    asks_help = bool({"-h", "--help"} & set(behind))
    return bool(OWN_OPTIONS & set(words)) or ("leaks" in words and asks_help)


def _names(pattern: str, words: Sequence[str]) -> list[str]:
    return [name for name in re.findall(pattern, " ".join(words)) if name != NO_CELL]
