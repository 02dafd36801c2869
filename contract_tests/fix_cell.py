"""The cell under test: its server, started once, attested, and removed whatever happens."""

from __future__ import annotations

import gc
import json
import os
import platform
import random
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import version
from multiprocessing.util import Finalize
from pathlib import Path

import pytest

from harness.attestation import AttestationError, Facts, attest
from harness.backends import Backend, backend
from harness.matrix import Cell, Matrix, load
from harness.orphans import end_with_parent
from harness.own_stores import put_on_path, with_stores
from harness.providers import PROVIDERS, provide
from harness.report.folder import BusyError, CellFolder
from harness.report.junit import JUNIT
from harness.report.outcome import NOT_RUN_EXIT, RESULTS
from harness.report.phases import Phases
from harness.servers import NotRunError, Server, StartError
from harness.servers.directories import delete, private_directory
from harness.servers.ownership import owner
from harness.tables import MatrixError

CELL = pytest.StashKey[Cell]()
MATRIX = pytest.StashKey[Matrix]()
SERVER = pytest.StashKey[Server]()
FACTS = pytest.StashKey[Facts]()
FOLDER = pytest.StashKey[Path]()
REPORT = pytest.StashKey[CellFolder]()
TIMES = pytest.StashKey[Phases]()
SEED = pytest.StashKey[int]()
LONGEST_SOCKET_PATH = 100
AFTER_MULTIPROCESSING = -200
"""It deletes its own directory at exit, with the priority -100."""
OBJECTS_A_ROUND = 50_000
"""New objects until the garbage collector looks for cycles: at 700 it was a tenth of a cell."""
CLIENTS = ("redis", "psycopg", "psycopg-pool", "fakeredis", "hypothesis", "pytest")
"""The packages whose versions a failure may depend on."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.hookimpl(tryfirst=True)  # before pytest-reportlog looks for its file
def pytest_configure(config: pytest.Config) -> None:
    """Find the cell; refuse wrong options in one line."""
    provider, cell_id = config.getoption("provider"), config.getoption("cell")
    if provider not in PROVIDERS:
        raise pytest.UsageError(f"--provider must be one of {', '.join(PROVIDERS)}")
    if not cell_id:
        raise pytest.UsageError("--cell is missing; `nox -l` lists the cells, as in matrix(CELL)")
    try:
        names = config.getoption("store")
        matrix = with_stores(load(), names, config.getoption("backend"))
        cell = matrix.cell(cell_id)
        matrix.require(cell, names)
    except MatrixError as error:
        raise pytest.UsageError(str(error)) from error
    config.stash[MATRIX], config.stash[CELL] = matrix, cell
    seed = config.getoption("seed")
    config.stash[SEED] = random.SystemRandom().randrange(1, 10**6) if seed is None else seed
    folder = config.stash[FOLDER] = Path(config.getoption("reports")) / cell.id
    put_on_path(config.getoption("with_"))
    if config.option.collectonly:
        return
    gc.set_threshold(OBJECTS_A_ROUND)
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, _interrupted)
    try:
        config.stash[REPORT] = CellFolder(folder, owner())
    except BusyError as error:
        raise pytest.UsageError(str(error)) from error
    except OSError as error:
        raise pytest.UsageError(f"the report cannot be written: {error}") from error
    config.option.report_log = str(folder / RESULTS)
    config.option.xmlpath, config.option.junitprefix = str(folder / JUNIT), cell.id
    _keep_temporary_files_together()


def pytest_report_header(config: pytest.Config) -> str:
    """Say what would repeat this run."""
    return f"cell {config.stash[CELL].id}, seed {config.stash[SEED]}"


def pytest_sessionstart(session: pytest.Session) -> None:
    """Start the server before collecting, so that a fault is one message and not one a test."""
    config = session.config
    if config.option.collectonly:
        return
    end_with_parent()
    cell, report = config.stash[CELL], config.stash[REPORT]
    software = backend(cell.backend)
    started = time.monotonic()
    phases = config.stash[TIMES] = Phases()
    try:
        server = provide(
            cell, software, config.getoption("provider"), config.stash[MATRIX].registry
        )
        config.stash[SERVER] = server
        with phases.of("boot"):
            server.start()
        with phases.of("attestation"):
            facts = attest(cell, software, server)
    except NotRunError as error:
        report.write("not run", str(error))
        pytest.exit(f"{cell.id}: not run: {error}", returncode=NOT_RUN_EXIT)
    except (StartError, AttestationError) as error:
        report.write("error", str(error))
        raise pytest.UsageError(str(error)) from error  # the way to end with one message
    except BaseException as error:
        report.write("error", f"interrupted at start: {type(error).__name__}: {error}")
        raise
    config.stash[FACTS] = facts
    about = {
        "boot_seconds": round(time.monotonic() - started, 3),
        "seed": config.stash[SEED],
        "clients": {"python": platform.python_version(), **{n: version(n) for n in CLIENTS}},
        **asdict(facts),
    }
    (report.path / "facts.json").write_text(json.dumps(about, indent=2) + "\n")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Say how much there is to do.

    What is imported goes out of the garbage collector's rounds: none of it will ever go.
    """
    if REPORT in session.config.stash:
        session.config.stash[REPORT].begins(len(session.items))
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_keyboard_interrupt(excinfo: pytest.ExceptionInfo[BaseException]) -> None:
    """Show only where the run was interrupted: all else takes longer than nox waits."""
    excinfo.traceback = excinfo.traceback[-2:]


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the server, also after an interrupt, and keep its log."""
    if REPORT not in config.stash:
        return
    _ignore_signals()  # nothing may interrupt this
    gc.collect()  # pytest tells of what it finds, in five more rounds over what is left
    gc.freeze()
    server = config.stash.get(SERVER, None)
    if server is not None:
        with suppress(OSError):  # a full disk keeps no log; the server must go all the same
            log = config.stash[FOLDER] / "server.log"
            log.touch(mode=0o600)
            log.write_text(server.logs(), encoding="utf-8")
        with config.stash[TIMES].of("removal"):
            server.remove()
        with suppress(OSError):
            config.stash[TIMES].write(config.stash[FOLDER])
    config.stash[REPORT].release()


@pytest.fixture(scope="session")
def cell(pytestconfig: pytest.Config) -> Cell:
    """The cell, as matrix.toml has it."""
    return pytestconfig.stash[CELL]


@pytest.fixture(scope="session")
def software(cell: Cell) -> Iterator[Backend]:
    """The cell's server software."""
    software = backend(cell.backend)
    yield software
    software.close()


@pytest.fixture(scope="session")
def server(pytestconfig: pytest.Config) -> Server:
    """The cell's running server."""
    return pytestconfig.stash[SERVER]


@pytest.fixture(scope="session", autouse=True)
def _still_what_its_row_says(cell: Cell, software: Backend, server: Server) -> Iterator[None]:
    """Attest once more at the end: contracts, or somebody else, may have changed a setting."""
    yield
    attest(cell, software, server)


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """Random choices that depend on the seed and the test alone."""
    return random.Random(f"{request.config.stash[SEED]}:{request.node.name}")


def _keep_temporary_files_together() -> None:
    """Put all temporary files of this process into one directory, which a sweep knows.

    multiprocessing has a socket there; where its path would be too long, all stays as it is.
    """
    try:
        directory = private_directory()
    except OSError as error:
        raise pytest.UsageError(f"no temporary directory: {error}") from error
    Finalize(None, delete, args=[directory], exitpriority=AFTER_MULTIPROCESSING)
    if len(f"{directory}/pymp-12345678/listener-12345678") < LONGEST_SOCKET_PATH:
        tempfile.tempdir = os.environ["TMPDIR"] = str(directory)


def _interrupted(_signum: int, _frame: object) -> None:
    """Let SIGTERM (nox ending its sessions) clean up as Ctrl-C does; once, or it never would."""
    _ignore_signals()
    raise KeyboardInterrupt


def _ignore_signals() -> None:
    """Do nothing on signals. With SIG_IGN, Python complains about one that is on its way."""
    for number in SIGNALS:
        signal.signal(number, lambda *_: None)
