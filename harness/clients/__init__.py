"""The clients of matrix.toml: drivers and Pythons to run cells with. Standard library only."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.tables import Table

FOLDER, FACTS = "clients", "client.json"
"""Where in the reports each client has a folder of its own, and what is in that."""
SESSION_VARIABLE = "MATRIX_SESSION"
"""The environment variable with the nox session that runs a cell, where it is that of a client."""
PACKAGE, PACKAGE_MEANING = r"[\w.-]+(\[[\w,-]+\])?==[\w.]+", "a pinned package: 'redis==5.3.1'"


@dataclass(frozen=True, slots=True)
class Client:
    """One environment to run cells in.

    ``packages`` are pinned; what they do not name is the newest that fits. ``python`` is a version,
    None for the one that runs nox. ``backend`` limits the cells of ``lane``, None for all of it.
    """

    id: str
    lane: str
    packages: tuple[str, ...] = ()
    python: str | None = None
    backend: str | None = None


def client_of(name: str, table: Table, lanes: Iterable[str], backends: Iterable[str]) -> Client:
    """Read a client. Raises MatrixError."""
    if not (table.has("packages") or table.has("python")):
        table.refuse("packages", "there, or python", None)
    client = Client(
        id=name,
        lane=table.choice("lane", lanes),
        packages=tuple(table.matching_texts("packages", PACKAGE, PACKAGE_MEANING)),
        python=table.optional_matching("python", r"3\.\d+", "a version, such as '3.12'"),
        backend=table.choice("backend", backends) if table.has("backend") else None,
    )
    table.done()
    return client


def interpreter(version: str) -> str:
    """Return a Python of this version that pyenv has, else the version, which nox looks for.

    On the PATH pyenv only has those versions that are active.
    """
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    found = root.glob(f"versions/{version}.*/bin/python{version}")
    return str(max(found, key=lambda path: path.stat().st_mtime, default=version))
