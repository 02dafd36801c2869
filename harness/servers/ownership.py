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
    return f"{_host()}/{os.getpid()}/{_start_time(os.getpid())}"


def is_gone(mark: str) -> bool:
    """Tell whether the process of a mark is certainly gone; unknown marks and hosts are not."""
    host, _, process = mark.partition("/")
    pid, _, start = process.partition("/")
    if host != _host() or not pid.isdigit():
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


@cache
def _host() -> str:
    """Return the host's name, and where that is known which of its sets of processes we see.

    Two containers may share a name and a Docker daemon, and not see each other's processes.
    """
    try:
        namespace = f".{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        namespace = ""
    return socket.gethostname() + namespace


def _mark(path: Path) -> str:
    return "/".join(path.name.removeprefix(DIRECTORY_PREFIX).split("@")[:3])


def _start_time(pid: int) -> str | None:
    """Return the process's start in clock ticks since boot, which no change of the clock moves.

    None if it is gone. Where there is no /proc, as on macOS, all that lives looks alike.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "running" if not Path("/proc/self").exists() and psutil.pid_exists(pid) else None
    fields = stat.rpartition(")")[2].split()  # proc(5): the state, then field 22 at index 19
    return None if fields[0] == "Z" else fields[19]
