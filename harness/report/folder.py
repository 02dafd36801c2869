"""reports/<cell>/ while a cell runs: one run at a time, and nothing left of the last one."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from pathlib import Path
from typing import IO

from harness.report.junit import JUNIT, write_without_contracts
from harness.report.outcome import FILE, RESULTS, RUN_VARIABLE, Outcome, write_outcome
from harness.report.phases import PHASES

KILLED = "its process was killed before the cell ended"
LEFT = (RESULTS, FILE, JUNIT, "facts.json", PHASES, "server.log", "histories")
WAIT_SECONDS = 120.0
"""How long to wait for another run of the same cell: longer than a cell takes."""


class BusyError(Exception):
    """Another run of the same cell still writes to the folder."""


class CellFolder:
    """A cell's folder, held by this process until `release` or its end."""

    def __init__(self, path: Path, owner: str) -> None:
        """Wait for another run to end; then forget it. Raises BusyError and OSError."""
        self.path = path
        self._owner = owner
        path.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(path / "lock")
        for name in LEFT:
            left = path / name
            if left.is_dir():
                shutil.rmtree(left)
            else:
                left.unlink(missing_ok=True)
        self._started = time.time()
        self._contracts = 0
        self.write("running", KILLED)

    def begins(self, contracts: int) -> None:
        """Note how many contracts will run."""
        self._contracts = contracts
        self.write("running", KILLED)

    def write(self, outcome: str, reason: str, not_run: int = 0) -> None:
        """Write the outcome, with whose it is."""
        written = Outcome(
            outcome,
            reason,
            not_run,
            run=os.environ.get(RUN_VARIABLE, ""),
            owner=self._owner,
            contracts=self._contracts,
            started=self._started,
            seconds=round(time.time() - self._started, 3),
        )
        write_outcome(self.path, written)
        if not self._contracts:
            write_without_contracts(self.path, outcome, reason)

    def release(self) -> None:
        """Let the next run have the folder."""
        self._lock.close()


def _locked(path: Path) -> IO[str]:
    """Return the file with its lock, which the kernel ends with the process."""
    file = path.open("w", encoding="utf-8")
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                file.close()
                raise BusyError(
                    f"another run still writes to {path.parent} after {WAIT_SECONDS:g} s; "
                    "--reports FOLDER takes another one"
                ) from None
            time.sleep(0.05)
        else:
            return file
