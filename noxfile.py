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
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import nox

sys.path.insert(0, str(Path(__file__).resolve().parent))  # nox runs this file, not a package

from harness.asked import NO_CELL, asked
from harness.clients import interpreter
from harness.options import URL_VARIABLE
from harness.orphans import PARENT_VARIABLE, end_with_parent
from harness.report.outcome import NOT_RUN_EXIT, RUN_VARIABLE, read_outcome, verdict
from harness.report.progress import RunFollower, end_line, shown
from harness.tables import MatrixError

nox.needs_version = ">=2026.10.20"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["fast"]

ROOT = Path(__file__).resolve().parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
ACTIONS = sorted((ROOT / ".github" / "actions").glob("*/action.yml"))
LINT_IMPORTS = "from importlinter.cli import lint_imports_command; lint_imports_command()"
"""It has no `python -m`."""
try:
    ASKED = asked(sys.argv[1:])
except MatrixError as error:
    sys.exit(str(error))
OPTIONS, MATRIX, ENV = ASKED.options, ASKED.matrix, ASKED.environment
PYTHON = ROOT / ".nox" / ENV.name / "bin" / "python"
"""One environment for every session: a cell costs no installation. Stores that need more packages
have another, with those of all of a run."""
REPORTS = ROOT / OPTIONS.reports
FOLLOWER = RunFollower(REPORTS, sys.argv[1:], sys.stdout)
if ASKED.runs_cells or ASKED.runs_clients:
    nox.options.parallel = MATRIX.parallel
nox.options.error_on_missing_interpreters = OPTIONS.strict
if OPTIONS.url is not None:
    os.environ[URL_VARIABLE] = OPTIONS.url  # nox shows the command lines of what it runs
if ASKED.is_worker:  # what a killed nox leaves running ends itself, and what it runs
    end_with_parent(lambda: os.killpg(0, signal.SIGTERM))
else:
    os.environ[RUN_VARIABLE] = f"{os.getpid()}-{time.time_ns()}"
os.environ[PARENT_VARIABLE] = str(os.getpid())
# Compiled once for all cells, whatever the environment says: it halves the start of a cell.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ["PYTHONPYCACHEPREFIX"] = str(ROOT / ".nox" / "bytecode")
signal.signal(signal.SIGTERM, signal.default_int_handler)  # how CI stops a run: clean up


def cells(session: str, *, tagged: bool = False) -> list[nox.param]:
    """Return a session's cells as nox selects them, by id and perhaps by tag."""
    return [
        nox.param(cell.id, id=cell.id, tags=cell.tags if tagged else [])
        for cell in ASKED.cells[session]
    ] or [nox.param("", id=NO_CELL)]


@nox.session(name=ENV.name, reuse_venv=True)
def env(session: nox.Session) -> None:
    """Install the environment that all other sessions share, if its packages changed."""
    install(session, "harness", "lint", "browser", packages=ENV.packages)
    if ENV.foreign:
        session.run(PYTHON, "-m", "harness.opening", *ENV.foreign, env=ENV.variables, external=True)


@nox.session(venv_backend="none", requires=[ENV.name], allow_parallel=True)
@nox.parametrize("cell", cells("matrix", tagged=True))
def matrix(session: nox.Session, cell: str) -> None:
    """Run every contract in every cell, on real servers."""
    run_cell(session, cell)


@nox.session(venv_backend="none", requires=[ENV.name], allow_parallel=True)
@nox.parametrize("cell", cells("smoke"))
def smoke(session: nox.Session, cell: str) -> None:
    """Run every contract on one real server of each image."""
    run_cell(session, cell)


@nox.session(requires=[ENV.name], reuse_venv=True, download_python="never", allow_parallel=True)
@nox.parametrize(
    "python,client",
    [
        nox.param(interpreter(client.python) if client.python else None, client.id, id=client.id)
        for client in MATRIX.clients.values()
    ],
)
def clients(session: nox.Session, client: str) -> None:
    """Run cells with older and newer drivers and Pythons."""
    chosen = [f"--cell={cell.id}" for cell in ASKED.cells_with(client)]
    if not chosen:
        session.skip("it runs none of the cells that are asked for")
    install(session, "harness", packages=MATRIX.clients[client].packages)
    session.run(
        "python",
        *("-m", "harness.clients", client, f"--reports={REPORTS}", *chosen),
        *(["--strict"] * OPTIONS.strict + OPTIONS.for_pytest),
        silent=session.parallel,
        interrupt_timeout=15,
        terminate_timeout=15,
    )


@nox.session(venv_backend="none", requires=[ENV.name])
def fast(session: nox.Session) -> None:
    """Run what fakeredis can show, in seconds: the local loop."""
    for cell in [cell.id for cell in ASKED.cells["fast"]] or [""]:
        run_cell(session, cell)


@nox.session(venv_backend="none", requires=[ENV.name])
def tests(session: nox.Session) -> None:
    """Test the harness itself."""
    session.env["NOX"] = sys.executable  # the tests of the sessions run them
    session.run(PYTHON, "-m", "pytest", "tests", *session.posargs, external=True)


@nox.session(venv_backend="none", requires=[ENV.name])
def leaks(session: nox.Session) -> None:
    """Run stores with known bugs: tell which of them each lane would let through."""
    session.run(PYTHON, "-m", "harness.leaks", *session.posargs, external=True)


@nox.session(venv_backend="none", requires=[ENV.name])
def subjects(session: nox.Session) -> None:
    """Run the contracts on stores that others wrote: tell which of them each keeps."""
    session.env["NOX"] = sys.executable  # each subject runs in a nox of its own
    session.run(PYTHON, "-m", "harness.subjects", *session.posargs, external=True)


@nox.session(reuse_venv=True, requires=[ENV.name])
def bench(session: nox.Session) -> None:
    """Time the matrix, its peers and the adapters: ratios, in up to 15 minutes."""
    install(session, "harness", "bench")
    session.env["NOX"] = sys.executable  # it runs sessions
    session.run("python", "-m", "bench", *session.posargs, interrupt_timeout=15)


@nox.session(venv_backend="none", requires=[ENV.name])
def lint(session: nox.Session) -> None:
    """Check format, style, types, workflows, and that the generated docs are up to date."""
    for command in (
        ["ruff", "format", "--check", "--quiet", "."],
        ["ruff", "check", "--quiet", "."],
        ["mypy", "--no-error-summary"],
        ["harness.docs", "--check"],
        ["harness.leaks", "--check"],
        ["harness.subjects", "--check"],
        ["check_jsonschema", "-q", "--builtin-schema=vendor.github-workflows", *WORKFLOWS],
        ["check_jsonschema", "-q", "--builtin-schema=vendor.github-actions", *ACTIONS],
    ):
        session.run(PYTHON, "-m", *command, external=True)
    session.run(PYTHON, "-c", LINT_IMPORTS, "--no-cache", external=True, silent=True)
    zizmor = PYTHON.with_name("zizmor")  # no module of Python
    session.run(zizmor, "--offline", "--quiet", "--persona=auditor", ".github", external=True)


@nox.session(venv_backend="none", requires=[ENV.name])
def report(session: nox.Session) -> None:
    """Merge what the cells left in reports/ into a grid, summary.md, matrix.json and index.html."""
    session.run(PYTHON, "-m", "harness.report", *session.posargs, external=True)


@nox.session(venv_backend="none", requires=[ENV.name])
def docs(session: nox.Session) -> None:
    """Write the generated docs anew."""
    session.run(PYTHON, "-m", "harness.docs", external=True)


@nox.session(venv_backend="none", requires=[ENV.name])
def up(session: nox.Session) -> None:
    """Start a cell's servers and leave them up: `nox -s up -- CELL`. Alone, show what is up."""
    session.run(
        PYTHON,
        *("-m", "harness.servers.up", *session.posargs),
        external=True,
        interrupt_timeout=5,
        terminate_timeout=15,
    )


@nox.session(venv_backend="none", requires=[ENV.name])
def down(session: nox.Session) -> None:
    """End what `up` left running, all or `-- CELL`, and delete its data."""
    session.run(PYTHON, "-m", "harness.servers.up", "--down", *session.posargs, external=True)


@nox.session(venv_backend="none", requires=[ENV.name])
def compose(session: nox.Session) -> None:
    """Write a docker-compose.yml of a cell's server: `nox -s compose -- CELL`."""
    session.run(PYTHON, "-m", "harness.compose", *session.posargs, external=True)


@nox.session(venv_backend="none", requires=[ENV.name])
def sweep(session: nox.Session) -> None:
    """Remove containers, volumes and directories that killed runs left behind."""
    session.run(PYTHON, "-m", "harness.servers.sweep", external=True)


def install(session: nox.Session, *groups: str, packages: Iterable[str] = ()) -> None:
    """Install what the adapters and the groups need, and packages, if they have changed."""
    project = nox.project.load_toml("pyproject.toml")
    wanted = [
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["embedded"],
        *nox.project.dependency_groups(project, *groups),
        *packages,
    ]
    stamp = Path(session.virtualenv.location) / "installed"
    digest = hashlib.sha256(json.dumps([sys.version, wanted]).encode()).hexdigest()
    if not stamp.exists() or stamp.read_text() != digest:
        session.install(*wanted)
        stamp.write_text(digest)


def run_cell(session: nox.Session, cell: str) -> None:
    """Run the suite in one cell; tell a cell that could not run from one that passed."""
    if not cell:
        (session.skip if ASKED.only_elsewhere else session.error)(ASKED.why_no_cell)
    if OPTIONS.provider == "external":
        session.log(f"on the server at {OPTIONS.host}, if it is marked as disposable")
    if not session.parallel:
        FOLLOWER.end()  # pytest tells what goes on by itself
    try:
        with shown(REPORTS / cell, MATRIX, ASKED.seconds, sys.stdout):
            session.run(
                PYTHON,
                *("-m", "pytest", "contract_tests", "-q", "--cell", cell, *OPTIONS.for_pytest),
                external=True,
                success_codes=[0, NOT_RUN_EXIT],
                silent=session.parallel,  # shown when it fails; the report shows the rest
                interrupt_timeout=5,
                terminate_timeout=15,
            )
    finally:
        if session.parallel:
            session.log(end_line(REPORTS / cell, MATRIX, ASKED.seconds))
    became, why = verdict(REPORTS / cell, os.environ[RUN_VARIABLE], strict=OPTIONS.strict)
    if became != "passed":
        (session.skip if became == "skipped" else session.error)(why)


def report_at_exit() -> None:
    """Merge the cells of this run. Nox has no session that runs after failed ones."""
    FOLLOWER.end()
    run = os.environ[RUN_VARIABLE]
    if ASKED.runs_clients and not ASKED.lists:
        summary = [str(PYTHON), "-m", "harness.clients.summary", str(REPORTS), f"--run={run}"]
        chosen = [f"--client={name}" for name in ASKED.clients]
        subprocess.run([*summary, *chosen], cwd=ROOT, check=False)
    if any(read_outcome(path.parent).run == run for path in REPORTS.glob("*/outcome.json")):
        report = ["-m", "harness.report", str(REPORTS), f"--run={run}"]
        report += ["--strict"] * OPTIONS.strict
        subprocess.run([PYTHON, *report], cwd=ROOT, check=False)


if not ASKED.is_worker:
    atexit.register(report_at_exit)
    if ASKED.runs_cells and not ASKED.lists:
        FOLLOWER.start()

if __name__ == "__main__":
    nox.main()
