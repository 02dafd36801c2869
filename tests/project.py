"""A copy of this project with contracts of a test's own, and the commands that run it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent
MARK = "HYGIENE_TEST"
"""The environment variable by which the processes of one test are found again."""
NEEDED = ("noxfile.py", "pyproject.toml", "matrix.toml")
OURS = (
    "MATRIX_RUN",
    "MATRIX_PARENT",
    "MATRIX_BOARD",
    "MATRIX_SESSION",
    "GITHUB_",
    "CI",
    "NOX",
    "PYTEST",
    "VIRTUAL_ENV",
    "TMPDIR",
)
SECONDS = 60


class Project:
    """A folder with all that runs contracts, but no contracts yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reports = folder / "reports"
        self.temporary = Path(tempfile.mkdtemp(prefix="hygiene-"))
        self.temporary.chmod(0o755)  # servers that do not run as root have to get through
        self._started: list[subprocess.Popen[str]] = []
        folder.mkdir(exist_ok=True)
        for name in NEEDED:
            shutil.copy2(ROOT / name, folder / name)
        for name in ("harness", "mutants", "stores", "subjects", "bench"):
            shutil.copytree(ROOT / name, folder / name)
        shutil.copytree(
            ROOT / "contract_tests",
            folder / "contract_tests",
            ignore=shutil.ignore_patterns("test_*"),
        )
        self._share_environment()

    def write_contracts(self, text: str) -> None:
        """Let the suite consist of these contracts."""
        (self.folder / "contract_tests" / "test_some.py").write_text(text, encoding="utf-8")

    def change_matrix(self, old: str, new: str) -> None:
        """Replace a text that is in matrix.toml once."""
        path = self.folder / "matrix.toml"
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} is in matrix.toml {text.count(old)} times"
        path.write_text(text.replace(old, new), encoding="utf-8")

    def environment(self, **changes: str) -> dict[str, str]:
        """Return this process's environment without what is of the run that it belongs to."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(OURS)}
        own = {
            MARK: self.temporary.name,
            "TMPDIR": str(self.temporary),
            "PYTEST_ADDOPTS": "-p no:hypothesispytest",  # it costs half a second to import
        }
        return {**kept, **own, **changes}

    def start(self, *command: str, **environment: str) -> subprocess.Popen[str]:
        """Start a command in the folder; what it prints can be read from its stdout."""
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment(**environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=interruptible,  # noqa: PLW1509 - one call, no locks
        )
        self._started.append(process)
        return process

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the folder to its end."""
        process = self.start(*command, **environment)
        printed, _ = process.communicate(timeout=SECONDS)
        return subprocess.CompletedProcess(command, process.returncode, printed)

    def nox(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run nox to its end."""
        return self.run(*NOX, *words, **environment)

    def processes(self) -> list[psutil.Process]:
        """Return the living processes that come from this project's commands."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def close(self) -> None:
        """Kill what still runs, and delete the temporary folder."""
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        for started in self._started:
            started.communicate()
        shutil.rmtree(self.temporary, ignore_errors=True)

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            return process.environ().get(MARK) == self.temporary.name
        except psutil.Error:
            return False

    def _share_environment(self) -> None:
        """Give the copy the environment of this project; its own folder may be deleted."""
        real, own = ROOT / ".nox" / "env", self.folder / ".nox" / "env"
        if not (real / "installed").exists():
            real = Path(sys.prefix)
        own.mkdir(parents=True)
        for name in ("bin", "lib"):
            (own / name).symlink_to(real / name)
        shutil.copy2(real / "pyvenv.cfg", own)
        if (real / "installed").exists():
            shutil.copy2(real / "installed", own)


NOX = (os.environ.get("NOX", sys.executable), "-m", "nox")
"""The nox that runs these tests, else the one of this environment."""
SUITE = (sys.executable, "-m", "pytest", "contract_tests", "-q")


def interruptible() -> None:
    """Undo what a shell does to background jobs: they ignore Ctrl-C, and so would ours."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def contracts(body: str) -> str:
    """Return a contract file with the imports that small contracts need."""
    return IMPORTS + body


IMPORTS = """
import os, signal, time
from pathlib import Path
import pytest
from contract_tests.workers import *
from harness.contracts import contract, needs
from stores import Message

"""


def figures(**named: Any) -> str:
    """Return keyword arguments as source text."""
    return ", ".join(f"{name}={value!r}" for name, value in named.items())
