"""Directories of runs, and those that killed runs left."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil

from harness.faults.disk import abandon
from harness.servers.ownership import is_gone, owner
from harness.servers.shared_memory import remove_segment

PREFIX = "memory-matrix-"
SHARED = Path(tempfile.gettempdir())
"""Where all runs have their directories, wherever this one puts its temporary files later."""
DELETE_SECONDS = 5.0


def private_directory() -> Path:
    """Return a new directory, marked with this process."""
    return Path(tempfile.mkdtemp(prefix=f"{PREFIX}{owner().replace('/', '@')}@", dir=SHARED))


def copy_into(source: Path, target: Path) -> None:
    """Copy what is in a directory into another, owners and modes included."""
    target.mkdir(exist_ok=True)
    subprocess.run(["cp", "-a", f"{source}/.", str(target)], check=True, capture_output=True)


def delete(directory: Path) -> None:
    """Delete the directory of a server that is dead; its last children may still write to it."""
    remove_segment(directory)
    abandon(directory)
    deadline = time.monotonic() + DELETE_SECONDS
    shutil.rmtree(directory, ignore_errors=True)
    while directory.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
        shutil.rmtree(directory, ignore_errors=True)


def sweep() -> list[str]:
    """Delete the directories whose owner is gone (its servers died with it); return them."""
    abandoned = [path for path in SHARED.glob(f"{PREFIX}*") if is_gone(_mark(path))]
    for directory in abandoned:
        _end_processes_in(directory)
        delete(directory)
    return [str(directory) for directory in abandoned]


def _end_processes_in(directory: Path) -> None:
    """Kill what still lives in the directory of a run that is gone.

    A server dies with its run, but children of it that are frozen just then do not notice.
    """
    left = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if Path(process.cwd()).is_relative_to(directory):
                process.kill()
                left.append(process)
    psutil.wait_procs(left, timeout=DELETE_SECONDS)


def _mark(path: Path) -> str:
    return "/".join(path.name.partition(PREFIX)[2].split("@")[:3])
