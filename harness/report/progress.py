"""What is shown of a run while it goes on, from what its cells leave. Standard library only.

In a terminal nox draws a board, with the last line that each session printed: how far its cell is.
Elsewhere each contract that fails is a line at once, and so is each cell that ends.
"""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from harness.matrix import Matrix
from harness.report.outcome import RESULTS, RUN_VARIABLE, Outcome, read_outcome
from harness.report.pace import note_selected, of_this_run, run_line
from harness.report.results import OUTCOMES, read_cell

BOARD_VARIABLE = "MATRIX_BOARD"
"""The environment variable that is set where nox draws its board."""
LOOK_SECONDS = 1.0
NAMED = 10
"""How many failures of a cell are named while it runs."""
CLEARED = "\x1b[K\r"
"""Ends a line that the next one overwrites: nox shows the last one on its board."""


class Following:
    """The results of a cell, read as they are streamed."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / RESULTS
        self._read = 0
        self.done = 0
        """How many contracts have ended."""
        self.failed: dict[str, str] = {}
        """The failed contracts so far, by name: each with the first line of its message."""

    def look(self) -> list[str]:
        """Read what is new; return the names of the contracts that failed since the last look."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._read)
                new = file.read()
        except FileNotFoundError:
            return []
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        before = len(self.failed)
        for line in whole.splitlines():
            with suppress(ValueError):  # a disk that ran full
                self._note(json.loads(line))
        return list(self.failed)[before:]

    def _note(self, entry: Mapping[str, object]) -> None:
        if entry.get("$report_type") != "TestReport":
            return
        self.done += entry["when"] == "teardown"
        if entry["outcome"] == "failed":
            name = str(entry["nodeid"]).rpartition("::")[2]
            self.failed.setdefault(name, _message(entry["longrepr"]))


def board_line(follow: Following, found: Outcome, run: str = "") -> str:
    """Return how far a cell is: ``118/642, 1 failed | run: 12 of 58 cells | test_x[RedisStore]``.

    The shortest goes first: nox cuts the line where the terminal ends.
    """
    said = f"{follow.done}/{found.contracts}" if found.contracts else "the server starts"
    said += f", {len(follow.failed)} failed" if follow.failed else ""
    return " | ".join(filter(None, [said, run, ", ".join(follow.failed)]))


def end_line(folder: Path, matrix: Matrix, seconds: Mapping[str, float]) -> str:
    """Return what became of a cell, and how far the run is."""
    run, found = run_line(folder.parent, matrix, seconds), read_outcome(folder)
    counts = read_cell(folder).counts()
    said = ", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES if counts[outcome])
    if not said or found.run != os.environ[RUN_VARIABLE]:
        return f"no contract ran; {run}"
    return f"{said} in {found.seconds:.1f} s; {run}"


@contextmanager
def shown(
    folder: Path, matrix: Matrix, seconds: Mapping[str, float], out: TextIO
) -> Iterator[None]:
    """Show on nox's board how far a cell is, and the run beside the cell that began first.

    Does nothing where nox draws none.
    """
    if BOARD_VARIABLE not in os.environ:
        yield
        return
    over = threading.Event()

    def show() -> None:
        follow = Following(folder)
        while not over.wait(LOOK_SECONDS):
            running = {
                name: one
                for name, one in of_this_run(folder.parent).items()
                if one.outcome == "running"
            }
            if folder.name not in running:
                continue
            follow.look()
            first = folder.name == min(running, key=lambda name: (running[name].started, name))
            run = run_line(folder.parent, matrix, seconds) if first else ""
            said = board_line(follow, running[folder.name], run)
            out.write(said + CLEARED)
            out.flush()

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        out.write(CLEARED)
        out.flush()


def tell_failures(reports: Path, out: TextIO, over: threading.Event) -> None:
    """Write one line for each contract of this run that fails, at once, until it is over."""
    following: dict[str, Following] = {}
    told: Counter[str] = Counter()
    last = False
    while not last:
        last = over.wait(LOOK_SECONDS)
        for cell in of_this_run(reports):
            follow = following.setdefault(cell, Following(reports / cell))
            for name in follow.look():
                told[cell] += 1
                if told[cell] <= NAMED:
                    _write(out, f"failed in {cell}: {name}: {follow.failed[name]}")
                elif told[cell] == NAMED + 1:
                    _write(out, f"failed in {cell}: more than {NAMED}; its report has them all")


class RunFollower:
    """Follows a run of cells in parallel, in the nox that starts them."""

    def __init__(self, reports: Path, words: Sequence[str], out: TextIO) -> None:
        self._over = threading.Event()
        self._select = threading.Thread(target=note_selected, args=(reports, words), daemon=True)
        self._tell = threading.Thread(
            target=tell_failures, args=(reports, out, self._over), daemon=True
        )
        self._board = out.isatty()

    def start(self) -> None:
        """Tell failures from now on.

        Where nox draws its board nobody else may write: the cells tell theirs on it.
        """
        os.environ.pop(BOARD_VARIABLE, None)
        self._select.start()
        if self._board:
            os.environ[BOARD_VARIABLE] = "1"
        else:
            self._tell.start()

    def end(self) -> None:
        """Tell the last failures. Does nothing where it was never started."""
        self._over.set()
        if self._tell.is_alive():
            self._tell.join()


def _message(longrepr: object) -> str:
    crash = longrepr.get("reprcrash") if isinstance(longrepr, dict) else None
    text = str(crash["message"] if crash else longrepr).strip()
    return text.splitlines()[0] if text else "no message"


def _write(out: TextIO, line: str) -> None:
    encoding = out.encoding or "utf-8"
    out.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    out.flush()
