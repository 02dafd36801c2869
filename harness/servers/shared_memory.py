"""What a killed Postgres leaves outside of its directory (docs: "Managing Kernel Resources")."""

from __future__ import annotations

import ctypes
from pathlib import Path

IPC_RMID = 0
LINE = 7
"""Of postmaster.pid: the segment's key and id."""
SEGMENTS = Path("/proc/sysvipc/shm")


def remove_segment(directory: Path) -> None:
    """Remove the shared memory of the server whose data is in a directory, if nobody uses it.

    Only a clean end removes it; a segment of 56 bytes that a SIGKILL left stays until the
    machine restarts, and machines have 4096 of them. Linux only.
    """
    try:
        lines = (directory / "data" / "postmaster.pid").read_text().splitlines()
        key, number = (int(word) for word in lines[LINE - 1].split())
        table = SEGMENTS.read_text().splitlines()
    except (OSError, IndexError, ValueError):
        return
    names = table[0].split()
    for line in table[1:]:
        segment = dict(zip(names, map(int, line.split()), strict=True))
        if (segment["key"] % 2**32, segment["shmid"], segment["nattch"]) == (key, number, 0):
            ctypes.CDLL(None).shmctl(number, IPC_RMID, None)
