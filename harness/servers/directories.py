"""Directories that a run has in the temporary one, and those that killed runs left there."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

from harness.servers.ownership import is_gone, owner
from harness.servers.shared_memory import remove_segment

PREFIX = "memory-matrix-"
SHARED = Path(tempfile.gettempdir())
"""Where all runs have their directories, wherever this one puts its temporary files later."""
DELETE_SECONDS = 5.0


def private_directory() -> Path:
    """Return a new directory, marked with this process."""
    mark = owner().replace("/", "@")
    return Path(tempfile.mkdtemp(prefix=f"{PREFIX}{mark}@", dir=SHARED))


def delete(directory: Path) -> None:
    """Delete the directory of a server that is dead; its last children may still write to it."""
    remove_segment(directory)
    deadline = time.monotonic() + DELETE_SECONDS
    shutil.rmtree(directory, ignore_errors=True)
    while directory.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
        shutil.rmtree(directory, ignore_errors=True)


def sweep() -> list[str]:
    """Delete the directories whose owner is gone (its servers died with it); return them."""
    abandoned = [path for path in SHARED.glob(f"{PREFIX}*") if is_gone(_mark(path))]
    for directory in abandoned:
        delete(directory)
    return [str(directory) for directory in abandoned]


def _mark(path: Path) -> str:
    return "/".join(path.name.removeprefix(PREFIX).split("@")[:3])
