"""Finding server binaries: on the machine, in its packages, or in wheels of this environment."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from harness.backends import version_matches


def find_program(name: str, version: str, places: tuple[str, ...]) -> Path | None:
    """Return the first binary called ``name`` whose version starts with the prefix.

    Looks at PATH, then at the places: patterns of absolute paths, or ``package:path``
    for a file inside an installed wheel.
    """
    for program in _candidates(name, places):
        found = program_version(program)
        if found and version_matches(found, version):
            return program
    return None


def found_versions(name: str, places: tuple[str, ...]) -> str:
    """Return the versions there are, for messages."""
    versions = [program_version(program) for program in _candidates(name, places)]
    return ", ".join(sorted({version for version in versions if version})) or "none"


def write_secret(path: Path, text: str, user: str | None) -> None:
    """Write a file that only the user who runs the server can read."""
    path.touch(mode=0o600)
    path.write_text(text)
    if user:
        shutil.chown(path, user)


@cache
def program_version(program: Path) -> str | None:
    """Return the version that ``--version`` prints; None where the binary does not run."""
    try:
        run = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"(?:v=|PostgreSQL\) )(\d+(?:\.\d+)+)", run.stdout)
    return match[1] if match else None


def _candidates(name: str, places: tuple[str, ...]) -> Iterator[Path]:
    on_path = shutil.which(name)
    if on_path:
        yield Path(on_path).resolve()
    for place in places:
        package, colon, inside = place.partition(":")
        if not colon:
            yield from sorted(Path("/").glob(place.lstrip("/")))
            continue
        spec = importlib.util.find_spec(package)
        if spec and spec.submodule_search_locations:
            program = Path(spec.submodule_search_locations[0]) / inside
            if program.exists():
                yield program
