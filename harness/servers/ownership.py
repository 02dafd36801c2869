"""Who started what: marks on containers and directories, so that leftovers can be told apart.

A run that was killed with SIGKILL cleans nothing up. The next one sweeps what belongs to
a process that is gone, and never what belongs to one that lives.
"""

from __future__ import annotations

import hashlib
import os
import socket
from functools import cache
from pathlib import Path

import psutil

LABEL = "memory-matrix"
"""On every container: its value is the owner."""


@cache
def owner() -> str:
    """Return the mark of this process: host, pid and start, so that a reused pid differs."""
    return f"{_host()}/{os.getpid()}/{_start_time(os.getpid())}"


def is_gone(mark: str) -> bool:
    """Tell whether the process of a mark is certainly gone; unknown marks and hosts are not."""
    host, _, process = mark.partition("/")
    pid, _, start = process.partition("/")
    if host != _host() or not pid.isdigit():
        return False
    return _start_time(int(pid)) != start


@cache
def _host() -> str:
    """Return a short name of the host and of the processes that we see of it.

    Two containers may share a host's name and a Docker daemon, and not see each other's
    processes. Short, because paths of sockets may have some 100 characters.
    """
    try:
        namespace = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        namespace = 0
    return hashlib.sha256(f"{socket.gethostname()} {namespace}".encode()).hexdigest()[:8]


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
