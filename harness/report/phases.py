"""reports/<cell>/phases.json: where the seconds of a cell's process went."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

PHASES = "phases.json"


class Phases:
    """Adds up the seconds of a process by phase; what is in no phase is its tests' own.

    ``process`` is the whole life of the process, ``cpu`` what it and its children computed:
    the rest of its life it waited, for servers, for TTLs, and for its turn on the cores.
    """

    def __init__(self) -> None:
        self._born = psutil.Process().create_time()
        self._seconds = {"imports": time.time() - self._born}

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Add the block's time to a phase."""
        began = time.monotonic()
        try:
            yield
        finally:
            took = time.monotonic() - began
            self._seconds[name] = self._seconds.get(name, 0.0) + took

    def write(self, folder: Path) -> None:
        """Leave what is known by now in the cell's folder."""
        used = os.times()
        cpu = used.user + used.system + used.children_user + used.children_system
        whole = {"process": time.time() - self._born, "cpu": cpu}
        text = json.dumps({name: round(s, 3) for name, s in (self._seconds | whole).items()})
        (folder / PHASES).write_text(text + "\n", encoding="utf-8")


def read_phases(folder: Path) -> dict[str, float]:
    """Return what a cell left; nothing where it left nothing."""
    try:
        found: dict[str, float] = json.loads((folder / PHASES).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found
