"""Who started what: marks on containers and directories, so that leftovers can be told apart.

A run that was killed with SIGKILL cleans nothing up. The next one sweeps what belongs to
a process that is gone, and never what belongs to one that lives.
"""

from __future__ import annotations

import os
import socket
import tempfile
from functools import cache
from pathlib import Path

import psutil

LABEL = "memory-matrix"
"""On every container: its value is the owner."""
DIRECTORY_PREFIX = "memory-matrix-"


@cache
def owner() -> str:
    """Return the mark of this process: host, pid and start time, so that a reused pid differs."""
    return f"{socket.gethostname()}/{os.getpid()}/{_start_time(os.getpid())}"


def is_gone(mark: str) -> bool:
    """Tell whether the process of a mark is certainly gone; unknown marks and hosts are not."""
    host, _, process = mark.partition("/")
    pid, _, start = process.partition("/")
    if host != socket.gethostname() or not pid.isdigit():
        return False
    return _start_time(int(pid)) != start


def private_directory() -> Path:
    """Return a new directory in the temporary one, marked with this process."""
    mark = owner().replace("/", "@")
    return Path(tempfile.mkdtemp(prefix=f"{DIRECTORY_PREFIX}{mark}@"))


def abandoned_directories() -> list[Path]:
    """Return the directories of processes that are gone."""
    found = Path(tempfile.gettempdir()).glob(f"{DIRECTORY_PREFIX}*")
    return [path for path in found if is_gone(_mark(path))]


def _mark(path: Path) -> str:
    return "/".join(path.name.removeprefix(DIRECTORY_PREFIX).split("@")[:3])


def _start_time(pid: int) -> str | None:
    """Return when the process started, in milliseconds since 1970; None if it is gone."""
    try:
        process = psutil.Process(pid)
        gone = process.status() == psutil.STATUS_ZOMBIE
        return None if gone else str(round(process.create_time() * 1000))
    except psutil.NoSuchProcess:
        return None
