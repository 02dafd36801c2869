# /// script
# requires-python = ">=3.11"
# dependencies = ["nox[uv]>=2026.10.20"]
# ///
"""The sessions: `nox -l` lists them, `nox -s matrix` runs everything.

Thin on purpose: matrix.toml says what to run, harness/ and contract_tests/ know how.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import nox

sys.path.insert(0, str(Path(__file__).resolve().parent))  # nox runs this file, not a package

from harness.matrix import Cell, load
from harness.options import parse
from harness.report.outcome import NOT_RUN_EXIT, read_outcome
from harness.tables import MatrixError

nox.needs_version = ">=2026.10.20"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["fast"]

ROOT = Path(__file__).resolve().parent
PYTHON = ROOT / ".nox" / "env" / "bin" / "python"
"""One environment for every session: a cell costs no installation."""
POSARGS = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []
OPTIONS = parse(POSARGS)
REPORTS = next(
    (ROOT / word.partition("=")[2] for word in OPTIONS.for_pytest if word.startswith("--reports=")),
    ROOT / "reports",
)
try:
    MATRIX = load()
    CELLS = MATRIX.lane(OPTIONS.lane or "matrix")
except MatrixError as error:
    sys.exit(str(error))
if any(word.startswith(("matrix", "smoke")) for word in sys.argv):
    nox.options.parallel = MATRIX.parallel


def parametrized(cells: list[Cell]) -> list[nox.param]:
    """Return the cells as nox selects them: by id and by tag."""
    return [nox.param(cell.id, id=cell.id, tags=cell.tags) for cell in cells]


@nox.session(reuse_venv=True)
def env(session: nox.Session) -> None:
    """Install the environment that all other sessions share, if its packages changed."""
    project = nox.project.load_toml("pyproject.toml")
    packages = [
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["embedded"],
        *nox.project.dependency_groups(project, "harness", "lint"),
    ]
    stamp = Path(session.virtualenv.location) / "installed"
    wanted = hashlib.sha256(json.dumps([sys.version, packages]).encode()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        session.install(*packages)
        stamp.write_text(wanted)


@nox.session(venv_backend="none", requires=["env"], allow_parallel=True)
@nox.parametrize("cell", parametrized(CELLS))
def matrix(session: nox.Session, cell: str) -> None:
    """Run every contract in every cell, on real servers."""
    run_cell(session, cell)


@nox.session(venv_backend="none", requires=["env"], allow_parallel=True)
@nox.parametrize("cell", parametrized(MATRIX.lane("smoke")))
def smoke(session: nox.Session, cell: str) -> None:
    """Run every contract on one real server of each image."""
    run_cell(session, cell)


@nox.session(venv_backend="none", requires=["env"])
def fast(session: nox.Session) -> None:
    """Run what fakeredis can show, in seconds: the local loop."""
    for cell in MATRIX.lane("fast"):
        run_cell(session, cell.id)


@nox.session(venv_backend="none", requires=["env"])
def tests(session: nox.Session) -> None:
    """Test the harness itself."""
    session.run(PYTHON, "-m", "pytest", "tests", *session.posargs, external=True)


@nox.session(venv_backend="none", requires=["env"])
def lint(session: nox.Session) -> None:
    """Check format, style, types, and that the generated docs are up to date."""
    for command in (
        ["ruff", "format", "--check", "--quiet", "."],
        ["ruff", "check", "--quiet", "."],
        ["mypy", "--no-error-summary"],
        ["harness.docs", "--check"],
    ):
        session.run(PYTHON, "-m", *command, external=True)


@nox.session(venv_backend="none", requires=["env"])
def report(session: nox.Session) -> None:
    """Merge what the cells left in reports/ into a grid, summary.md and matrix.json."""
    session.run(PYTHON, "-m", "harness.report", REPORTS, *session.posargs, external=True)


@nox.session(venv_backend="none", requires=["env"])
def docs(session: nox.Session) -> None:
    """Write the generated docs anew."""
    session.run(PYTHON, "-m", "harness.docs", external=True)


@nox.session(venv_backend="none", requires=["env"])
def sweep(session: nox.Session) -> None:
    """Remove containers, volumes and directories that killed runs left behind."""
    session.run(PYTHON, "-m", "harness.servers.sweep", external=True)


def run_cell(session: nox.Session, cell: str) -> None:
    """Run the suite in one cell; tell a cell that could not run from one that passed."""
    session.run(
        PYTHON,
        *("-m", "pytest", "contract_tests", "-q", "--cell", cell, *OPTIONS.for_pytest),
        external=True,
        success_codes=[0, NOT_RUN_EXIT],
        silent=session.parallel,  # shown when it fails; the report shows the rest
        interrupt_timeout=30,
        terminate_timeout=10,
    )
    outcome, reason = read_outcome(REPORTS / cell)
    if outcome != "done" and OPTIONS.strict:
        session.error(f"{outcome}: {reason}")
    if outcome == "not run":
        session.skip(f"not run: {reason}")


def report_at_exit(since: float) -> None:
    """Merge the cells of this run. Nox has no session that runs after failed ones."""
    if any(path.stat().st_mtime >= since for path in REPORTS.glob("*/outcome.json")):
        subprocess.run(
            [PYTHON, "-m", "harness.report", REPORTS, f"--since={since}"], cwd=ROOT, check=False
        )


if "--parallel-worker" not in sys.argv and os.environ.get("MATRIX_REPORT", "1") == "1":
    atexit.register(report_at_exit, time.time())

if __name__ == "__main__":
    nox.main()
