"""What a killed Postgres leaves outside of its directory (docs: "Managing Kernel Resources")."""

from __future__ import annotations

import ctypes
from contextlib import suppress
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
    for path in directory.glob("*/*/postmaster.pid"):
        with suppress(OSError, IndexError, ValueError):
            _remove_segment_of(path)


def _remove_segment_of(path: Path) -> None:
    lines = path.read_text().splitlines()
    if lines[1] != str(path.parent):
        return  # of a container, whose memory is in a namespace of its own
    key, number = (int(word) for word in lines[LINE - 1].split())
    table = SEGMENTS.read_text().splitlines()
    names = table[0].split()
    for line in table[1:]:
        segment = dict(zip(names, map(int, line.split()), strict=True))
        if (segment["key"] % 2**32, segment["shmid"], segment["nattch"]) == (key, number, 0):
            ctypes.CDLL(None).shmctl(number, IPC_RMID, None)
