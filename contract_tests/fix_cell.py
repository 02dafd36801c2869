"""The cell under test: its server, started once, attested, and removed whatever happens."""

from __future__ import annotations

import json
import random
import signal
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from harness.attestation import AttestationError, Facts, attest
from harness.backends import Backend, backend
from harness.matrix import Cell, Matrix, load
from harness.opening import choose_stores
from harness.providers import PROVIDERS, provide
from harness.report.outcome import NOT_RUN_EXIT, RESULTS, begin, write_outcome
from harness.servers import NotRunError, Server, StartError
from harness.tables import MatrixError

CELL = pytest.StashKey[Cell]()
MATRIX = pytest.StashKey[Matrix]()
SERVER = pytest.StashKey[Server]()
FACTS = pytest.StashKey[Facts]()
FOLDER = pytest.StashKey[Path]()
SEED = pytest.StashKey[int]()


@pytest.hookimpl(tryfirst=True)  # before pytest-reportlog looks for its file
def pytest_configure(config: pytest.Config) -> None:
    """Find the cell; refuse wrong options in one line."""
    provider, cell_id = config.getoption("provider"), config.getoption("cell")
    if provider not in PROVIDERS:
        raise pytest.UsageError(f"--provider must be one of {', '.join(PROVIDERS)}")
    if not cell_id:
        raise pytest.UsageError("--cell is missing; `nox -l` lists the cells, as in matrix(CELL)")
    try:
        matrix = load()
        cell = matrix.cell(cell_id)
        choose_stores(matrix.stores_of(cell), config.getoption("store"))
    except MatrixError as error:
        raise pytest.UsageError(str(error)) from error
    config.stash[MATRIX], config.stash[CELL] = matrix, cell
    config.stash[SEED] = config.getoption("seed") or random.SystemRandom().randrange(1, 10**6)
    folder = Path(config.getoption("reports")) / cell.id
    config.stash[FOLDER] = folder
    if not config.option.collectonly:
        begin(folder)
        config.option.report_log = str(folder / RESULTS)
    signal.signal(signal.SIGTERM, _interrupted)


def pytest_report_header(config: pytest.Config) -> str:
    """Say what would repeat this run."""
    return f"cell {config.stash[CELL].id}, seed {config.stash[SEED]}"


def pytest_sessionstart(session: pytest.Session) -> None:
    """Start the server before collecting, so that a fault is one message and not one a test."""
    config = session.config
    if config.option.collectonly:
        return
    cell, folder = config.stash[CELL], config.stash[FOLDER]
    software = backend(cell.backend)
    started = time.monotonic()
    server: Server | None = None
    try:
        server = provide(
            cell, software, config.getoption("provider"), config.stash[MATRIX].registry
        )
        config.stash[SERVER] = server
        server.start()
        facts = attest(cell, software, server)
    except NotRunError as error:
        write_outcome(folder, "not run", str(error))
        pytest.exit(f"{cell.id}: not run: {error}", returncode=NOT_RUN_EXIT)
    except (StartError, AttestationError) as error:
        _save_log(folder, server)
        _remove(config)
        write_outcome(folder, "error", str(error))
        pytest.exit(str(error), returncode=1)
    except BaseException:
        _remove(config)
        raise
    config.stash[FACTS] = facts
    about = {"boot_seconds": round(time.monotonic() - started, 3), **asdict(facts)}
    (folder / "facts.json").write_text(json.dumps(about, indent=2) + "\n")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the server, also after an interrupt, and keep its log."""
    if CELL in config.stash:
        _save_log(config.stash[FOLDER], config.stash.get(SERVER, None))
        _remove(config)


@pytest.fixture(scope="session")
def cell(pytestconfig: pytest.Config) -> Cell:
    """The cell, as matrix.toml has it."""
    return pytestconfig.stash[CELL]


@pytest.fixture(scope="session")
def software(cell: Cell) -> Backend:
    """The cell's server software."""
    return backend(cell.backend)


@pytest.fixture(scope="session")
def server(pytestconfig: pytest.Config) -> Server:
    """The cell's running server."""
    return pytestconfig.stash[SERVER]


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """Random choices that depend on the seed and the test alone."""
    return random.Random(f"{request.config.stash[SEED]}:{request.node.name}")


def _interrupted(signum: int, _frame: object) -> None:
    """Let SIGTERM (nox ending its sessions) clean up as Ctrl-C does."""
    signal.signal(signum, signal.SIG_IGN)
    raise KeyboardInterrupt


def _save_log(folder: Path, server: Server | None) -> None:
    if server is not None:
        folder.mkdir(parents=True, exist_ok=True)
        log = folder / "server.log"
        log.touch(mode=0o600)
        log.write_text(server.logs())


def _remove(config: pytest.Config) -> None:
    server = config.stash.get(SERVER, None)
    if server is not None:
        del config.stash[SERVER]
        server.remove()
