"""How far a run is: behind each cell on nox's board, and as lines where there is no terminal."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
import time
from pathlib import Path

import pytest

from harness.matrix import load
from harness.polling import eventually
from harness.report import pace, progress
from harness.report.outcome import RESULTS, Outcome, write_outcome
from tests.project import NOX, Project, contracts, interruptible

RUN = "this-run"
MATRIX = load()
CELLS = [cell.id for cell in MATRIX.lane("smoke")]
WAITS = contracts("""
@contract("conv-1")
def test_fails(store):
    raise AssertionError("it is wrong")

@contract("conv-2")
def test_waits(store):
    while not Path("go").exists():
        time.sleep(0.01)
""")


@pytest.fixture
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which four cells of this run will report."""
    monkeypatch.setenv("MATRIX_RUN", RUN)
    (tmp_path / "selected.json").write_text(json.dumps({"run": RUN, "cells": CELLS}))
    return tmp_path


def test_results_are_counted_as_they_come(tmp_path: Path) -> None:
    """A line that is not whole yet counts once it is; a failure is told once, with its reason."""
    follow = progress.Following(tmp_path)
    assert follow.look() == []
    lines = _passed("test_a") + _failed("test_b", "wrong\nsecond line")
    with (tmp_path / RESULTS).open("w") as file:
        for cut in range(0, len(lines), 7):
            file.write(lines[cut : cut + 7])
            file.flush()
            follow.look()
    assert follow.done == 2
    assert follow.failed == {"test_b": "wrong"}
    assert follow.look() == []


def test_a_line_on_the_board_begins_with_what_is_short() -> None:
    """A narrow terminal shows the counts; what it cuts are names."""
    follow = progress.Following(Path("nowhere"))
    assert progress.board_line(follow, Outcome("running", "")) == "the server starts"
    follow.done, follow.failed = 118, {"test_a[RedisStore]": "wrong", "test_b[RedisStore]": "wrong"}
    assert progress.board_line(follow, Outcome("running", "", contracts=642), "run: 2 cells") == (
        "118/642, 2 failed | run: 2 cells | test_a[RedisStore], test_b[RedisStore]"
    )


@pytest.mark.parametrize(
    ("recorded", "done_in", "left"),
    [
        # 25 of 40 seconds of cells are left, and 15 were done in 10 s.
        ({}, 10.0, "about 15 s left"),
        (dict.fromkeys(CELLS, 10.0), 10.0, "about 15 s left"),
        # The machine takes three times as long as the one where it was recorded.
        (dict.fromkeys(CELLS, 10.0), 30.0, "about 50 s left"),
        # Those that wait take longest.
        ({**dict.fromkeys(CELLS, 10.0), CELLS[3]: 300.0}, 10.0, "about 5 min left"),
    ],
)
def test_the_time_left_follows_the_record_and_the_pace(
    reports: Path,
    recorded: dict[str, float],
    done_in: float,
    left: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One cell is done, one is half way, two wait."""
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    _report(reports, CELLS[0], "done", started=now - done_in, seconds=done_in)
    _report(reports, CELLS[1], "running", started=now - done_in / 2)
    assert pace.run_line(reports, MATRIX, recorded) == f"run: 1 of 4 cells, {left}"


def test_nothing_is_said_of_the_time_without_any_figure(reports: Path) -> None:
    """Neither at the very start without a record, nor when all is done, nor of another run."""
    assert pace.run_line(reports, MATRIX, {}) == "run: 0 of 4 cells"
    for cell in CELLS:
        _report(reports, cell, "done", started=time.time() - 5, seconds=5)
    assert pace.run_line(reports, MATRIX, {}) == "run: 4 of 4 cells"
    (reports / "selected.json").write_text(json.dumps({"run": "another", "cells": CELLS}))
    assert pace.run_line(reports, MATRIX, {}) == "run: 4 cells"


def test_a_cell_ends_with_its_counts_and_never_with_those_of_an_earlier_run(reports: Path) -> None:
    """A cell that never got to its contracts leaves what was there before."""
    folder = reports / CELLS[0]
    _report(reports, CELLS[0], "done", started=time.time() - 5, seconds=4.25)
    (folder / RESULTS).write_text(_passed("test_a") + _failed("test_b", "wrong"))
    assert progress.end_line(folder, MATRIX, {}).startswith("1 pass, 1 fail in 4.2 s; run: 1 of 4")
    write_outcome(folder, Outcome("done", "", run="another", seconds=4.25))
    assert progress.end_line(folder, MATRIX, {}) == "no contract ran; run: 0 of 4 cells"


def test_failures_are_told_at_once_and_not_without_end(reports: Path) -> None:
    """One line each while the cell runs; of a broken store, no more than ten."""
    out, over = io.StringIO(), threading.Event()
    telling = threading.Thread(target=progress.tell_failures, args=(reports, out, over))
    telling.start()
    try:
        _report(reports, CELLS[0], "running", started=time.time())
        results = reports / CELLS[0] / RESULTS
        results.write_text(_failed("test_a", "wrong"))
        assert eventually(lambda: "test_a" in out.getvalue(), within=10)
        results.write_text(
            _failed("test_a", "wrong") + "".join(_failed(f"test_{n}", "x") for n in range(20))
        )
    finally:
        over.set()
        telling.join()
    told = out.getvalue().splitlines()
    assert told[0] == f"failed in {CELLS[0]}: test_a: wrong"
    assert len(told) == 11
    assert told[-1] == f"failed in {CELLS[0]}: more than 10; its report has them all"


class Terminal:
    """nox in a terminal."""

    def __init__(self, project: Project, *words: str) -> None:
        self._printed = bytearray()
        self._control, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self.process = subprocess.Popen(
            [*NOX, *words],
            cwd=project.folder,
            env=project.environment(),
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
            preexec_fn=interruptible,  # noqa: PLW1509 - one call, no locks
        )
        os.close(terminal)
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    @property
    def printed(self) -> str:
        """All that was printed so far, without colours."""
        return re.sub(r"\x1b\[[0-9;]*m", "", self._printed.decode(errors="replace"))

    def end(self) -> int:
        """Wait for the end; return the exit code."""
        code = self.process.wait(40)
        self._reading.join()
        os.close(self._control)
        return code

    def _read(self) -> None:
        while True:
            try:
                read = os.read(self._control, 65536)
            except OSError:  # nobody writes any more
                return
            self._printed += read


@pytest.fixture
def terminal(project: Project) -> Terminal:
    """A run of one cell that waits in its second contract."""
    project.write_contracts(WAITS)
    words = ("matrix(fakeredis7)", "--", "--lane", "fast", "--store", "RedisStore")
    return Terminal(project, "-s", *words)


@pytest.mark.timeout(90)
def test_in_a_terminal_the_board_says_how_far_each_cell_is(
    project: Project, terminal: Terminal
) -> None:
    """Counts, failures by name and the run behind its name; nobody else draws."""
    shown = re.compile(
        r"matrix\(fakeredis7\) \(\d+s\)  1/2, 1 failed \| run: 0 of 1 cells.* \| test_fails\[Redis"
    )
    assert eventually(lambda: shown.search(terminal.printed), within=40), terminal.printed
    (project.folder / "go").touch()
    assert terminal.end() == 1
    assert "failed in fakeredis7" not in terminal.printed
    assert "1 pass, 1 fail in " in terminal.printed
    assert "1 of 1 cells ran; contracts: 1 fail, 1 pass" in terminal.printed


@pytest.mark.timeout(90)
def test_ctrl_c_in_a_terminal_ends_cleanly(terminal: Terminal) -> None:
    """With the report of what ran, and without a traceback."""
    assert eventually(lambda: "1/2, 1 failed" in terminal.printed, within=40), terminal.printed
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == 130, terminal.printed
    assert "Traceback" not in terminal.printed
    assert "fakeredis7: error: interrupted: 1 contracts ran, 1 were left" in terminal.printed


def _report(reports: Path, cell: str, outcome: str, *, started: float, seconds: float = 0) -> None:
    (reports / cell).mkdir(exist_ok=True)
    written = Outcome(outcome, "", run=RUN, contracts=9, started=started, seconds=seconds)
    write_outcome(reports / cell, written)


def _passed(name: str) -> str:
    return "".join(_phase(name, when, "passed", None) for when in ("setup", "call", "teardown"))


def _failed(name: str, message: str) -> str:
    crash = {"reprcrash": {"message": message}, "reprtraceback": {"reprentries": []}}
    return (
        _phase(name, "setup", "passed", None)
        + _phase(name, "call", "failed", crash)
        + _phase(name, "teardown", "passed", None)
    )


def _phase(name: str, when: str, outcome: str, longrepr: object) -> str:
    entry = {
        "$report_type": "TestReport",
        "nodeid": f"contract_tests/test_x.py::{name}",
        "location": ["contract_tests/test_x.py", 1, name],
        "when": when,
        "outcome": outcome,
        "longrepr": longrepr,
        "duration": 0.1,
        "user_properties": [],
        "sections": [],
    }
    return json.dumps(entry) + "\n"
