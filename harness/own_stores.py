"""Stores that are asked for by name: rows of matrix.toml, and a factory of the user's own.

Standard library only: the noxfile imports it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.matrix import FACTORY, FACTORY_MEANING, Matrix, Store
from harness.tables import MatrixError

BACKENDS = ("redis", "postgres")
"""Of a factory that no row names: the first one, unless told."""
PROJECT_FILES = ("pyproject.toml", "setup.py")


def row_of(matrix: Matrix, name: str, backend: str | None = None) -> Store | None:
    """Return the row of a store, a subject or a factory; None where no row has the name.

    Raises MatrixError for a text that is neither a name nor a factory.
    """
    known = {**matrix.subjects, **matrix.stores}
    if name in known or ":" not in name:
        return known.get(name)
    if not re.fullmatch(FACTORY, name):
        raise MatrixError(f"--store takes a name or {FACTORY_MEANING}, not {name!r}")
    return Store(name, name, backend or BACKENDS[0])


def with_stores(matrix: Matrix, names: Iterable[str], backend: str | None = None) -> Matrix:
    """Return the matrix with rows for what was asked for and is not among its stores.

    A name that is nowhere is left for `Matrix.require` to tell.
    """
    rows = [row_of(matrix, name, backend) for name in names]
    more = {row.name: row for row in rows if row and row.name not in matrix.stores}
    return replace(matrix, stores={**matrix.stores, **more})


def packages(stores: Iterable[Store], with_: Iterable[str]) -> list[str]:
    """Return what has to be installed for stores, as words for pip.

    ``with_`` are folders and requirements. A folder with a project is installed in place, so that
    a change in it needs no installation; one without is only put on the path. Raises MatrixError
    for a path where nothing is.
    """
    wanted = [requirement for store in stores for requirement in store.requires]
    for word in with_:
        path = Path(word)
        if path.is_dir():
            wanted += ["-e", str(path)] if _projects(word) else []
        elif path.is_file() or not re.search(r"^[./~]|[/\\]$", word):
            wanted.append(word)
        else:
            raise MatrixError(f"--with {word}: there is no such folder")
    return wanted


def folders(with_: Iterable[str]) -> list[str]:
    """Return the folders to put on the path: those without a project."""
    paths = [Path(word) for word in with_ if not _projects(word)]
    return [str(path.resolve()) for path in paths if path.is_dir()]


def put_on_path(with_: Iterable[str]) -> None:
    """Let this process, and those that it starts, import from the folders without a project."""
    paths = folders(with_)
    sys.path[:0] = paths
    if paths:
        inherited = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join([*paths, *([inherited] if inherited else [])])


@dataclass(frozen=True, slots=True)
class Environment:
    """What the stores of a run need: an environment of Python, and what is put on its path."""

    packages: list[str]
    foreign: list[str]
    """The factories of stores that the harness does not know."""
    folders: list[str]

    @property
    def name(self) -> str:
        """The environment's name: the shared one's where nothing more has to be installed.

        It depends on the projects' own files too: what they need may change.
        """
        if not self.packages:
            return "env"
        files = [file.read_text("utf-8") for word in self.packages for file in _projects(word)]
        text = json.dumps([sys.version, *self.packages, *files])
        return f"env_{hashlib.sha256(text.encode()).hexdigest()[:10]}"

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables with which its stores can be imported."""
        return {"PYTHONPATH": os.pathsep.join(self.folders)}


def environment(matrix: Matrix, names: Sequence[str], with_: Sequence[str] = ()) -> Environment:
    """Return what the stores of those names need, all stores without names."""
    stores = [row for name, row in matrix.stores.items() if name in names or not names]
    foreign = [row.factory for row in stores if not row.raw_records]
    return Environment(packages(stores, with_), foreign, folders(with_))


def _projects(folder: str) -> list[Path]:
    files = [Path(folder) / name for name in PROJECT_FILES]
    return [file for file in files if file.is_file()]
