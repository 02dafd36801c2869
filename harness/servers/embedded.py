"""Servers as local processes, from the machine's packages or the ``embedded`` extra's wheels."""

from __future__ import annotations

import ctypes
import errno
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil

from harness.backends import Backend, NotReadyError
from harness.faults.disk import Disk
from harness.faults.disk import fault as disk_fault
from harness.faults.freeze import freeze
from harness.matrix import Cell
from harness.servers import (
    NEED_DISK,
    POLL_SECONDS,
    NotRunError,
    ProgramError,
    StartError,
    free_port,
    wait_until_serving,
)
from harness.servers.directories import copy_into, delete, private_directory
from harness.servers.places import Place

USERS = ("postgres", "nobody")
"""Whom to run Postgres as where we are root, which it refuses: the first that exists."""
PR_SET_PDEATHSIG = 1
LEAST_SPACE = 1024**2
LIBC = ctypes.CDLL(None)
"""Loaded before any fork: a child of a process with threads must not load anything."""


class EmbeddedServer:
    """`harness.servers.Server` as a child process in a private directory."""

    provider = "embedded"
    image_digest: str | None = None

    def __init__(
        self,
        cell: Cell,
        backend: Backend,
        place: Place | None = None,
        origin: EmbeddedServer | None = None,
    ) -> None:
        """Make a server of a cell, at a place of its own choice unless it is given one.

        Given an origin, it starts with a copy of that server's data.
        """
        self._cell = cell
        self._backend = backend
        program = backend.find_program(cell.image.version)
        if program is None:
            raise NotRunError(
                f"there is no {backend.program} {cell.image.version} on this machine "
                f"(versions found: {backend.found()})"
            )
        self._program = program
        self._origin = origin
        self._password: str = place.password if place else secrets.token_urlsafe(16)
        if origin is not None:
            self._password = origin._password  # noqa: SLF001 - of this class; copied data hold it
        self._port = place.port if place else free_port()
        self.url = backend.url("127.0.0.1", self._port, self._password)
        self._user = _unprivileged_user()
        self._directory: Path | None = None
        self.disk: Disk | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.launch()
        process = self._process
        assert process is not None
        wait_until_serving(
            self._cell,
            self._backend,
            lambda: self._check(process),
            lambda: process.poll() is None,
            self.logs,
        )

    def launch(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        if self._directory is None:
            self._directory = self._prepared()
        command = self._backend.local_command(self._program, self._directory, self.data, self._port)
        command += self._backend.arguments(self._cell.settings)
        try:
            self._process = self._launched(command, self._directory)
        except (OSError, subprocess.SubprocessError) as error:
            raise StartError(f"{self._cell.id}: {command[0]} does not start: {error}") from error

    def _check(self, process: subprocess.Popen[bytes]) -> None:
        """Raise NotReadyError unless the server serves, and not a stranger at its port."""
        self._backend.check(self.url)
        with suppress(psutil.NoSuchProcess):
            for socket in psutil.Process(process.pid).net_connections("tcp4"):
                if socket.status == psutil.CONN_LISTEN and socket.laddr.port == self._port:
                    return
        raise NotReadyError("another server answers at its address")

    def stop(self) -> None:
        self._end(signal.SIGTERM if self._backend.program == "redis-server" else signal.SIGINT)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def power_cut(self) -> None:
        assert self.disk is not None
        freeze(self.pid)  # so that nothing is acknowledged after the cut
        self.disk.cut_power()
        self.kill()
        self.disk.restore_power()

    def cannot(self, event: str) -> str | None:
        return self._no_disk() if event in NEED_DISK else None

    def copy(self, cell: Cell) -> EmbeddedServer:
        return EmbeddedServer(cell, self._backend, origin=self)

    def put(self, name: str, content: bytes) -> str:
        assert self._directory is not None
        path = self._directory / name
        path.write_bytes(content)
        return str(path)

    def run(self, program: str, *arguments: str) -> bytes:
        login = self._backend.login("127.0.0.1", self._port, self._password)
        command = [str(self._program.with_name(program)), *arguments]
        done = subprocess.run(
            command, env={**os.environ, **login}, capture_output=True, check=False
        )
        if done.returncode:
            raise ProgramError(done.stderr.decode(errors="replace").strip())
        return done.stdout

    def remove(self) -> None:
        if self._process is not None:
            self._end(signal.SIGKILL)
        if self._directory is not None:
            delete(self._directory)
            self._directory = None

    def logs(self) -> str:
        return self._log.read_text(errors="replace") if self._directory else ""

    def _no_disk(self) -> str | None:
        return self._cell.lacks.get("power_cut") or disk_fault()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def data(self) -> Path:
        assert self._directory is not None
        return self.disk.mount_point if self.disk else self._directory / "data"

    @property
    def _log(self) -> Path:
        assert self._directory is not None
        return self._directory / "server.log"

    def _launched(self, command: list[str], directory: Path) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=self._user,
                # A terminal's Ctrl-C is the harness's to handle, not the server's.
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - one prctl call, no locks
            )

    def _prepared(self) -> Path:
        directory: Path | None = None
        try:
            directory = self._directory = private_directory()
            _require_space(directory)
            self._program = _reachable(self._program, self._user, directory)
            origin = self._origin.disk if self._origin else None
            self.disk = None if self._no_disk() else Disk(directory, origin=origin)
            self.data.mkdir(exist_ok=True)
            if self._user:
                shutil.chown(directory, self._user)
                shutil.chown(self.data, self._user)
            password = self._password
            self._backend.configure(directory, password, self._user)
            if self._origin is None:
                self._backend.prepare(self._program, directory, self.data, password, self._user)
            elif self.disk is None:
                copy_into(self._origin.data, self.data)
        except BaseException as error:
            if directory is not None:
                delete(directory)
                self._directory = None
            if isinstance(error, OSError | subprocess.CalledProcessError):
                said = f"{self._cell.id}: no data directory: {_said(error)}"
                raise StartError(said) from error
            raise
        return directory

    def _end(self, how: signal.Signals) -> None:
        assert self._process is not None
        family = []
        if self._process.poll() is None:
            # Postgres's children outlive a killed parent for a moment, and keep its memory.
            family = psutil.Process(self._process.pid).children(recursive=True)
            self._process.send_signal(how)
        if how is signal.SIGKILL:
            for child in family:
                with suppress(psutil.NoSuchProcess):
                    child.kill()
        self._process.wait(10)
        _wait_until_gone(family)


def _wait_until_gone(processes: list[psutil.Process]) -> None:
    """Wait for processes that are not ours to reap: init may leave them as zombies for seconds."""
    deadline = time.monotonic() + 10
    while any(_runs(process) for process in processes) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _require_space(directory: Path) -> None:
    """Raise OSError where the disk is full: Redis would start there, and refuse every write."""
    if shutil.disk_usage(directory).free < LEAST_SPACE:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(directory))


def _said(error: OSError | subprocess.CalledProcessError) -> str:
    """Return what went wrong: a program's own words, or the system's."""
    if isinstance(error, OSError):
        return str(error)
    said = error.stderr if isinstance(error.stderr, str) else error.stderr.decode(errors="replace")
    return said.strip()


def _unprivileged_user() -> str | None:
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in USERS if name in known), None)


def _reachable(program: Path, user: str | None, directory: Path) -> Path:
    """Return the program where the user can run it: a copy if its own folder is closed to them."""
    installation = program.parent.parent
    if user is None or all(folder.stat().st_mode & 0o001 for folder in program.parents):
        return program
    copy = directory / "program"
    shutil.copytree(installation, copy, symlinks=True)
    return copy / program.relative_to(installation)


def die_with_parent() -> None:
    """Let the kernel kill the server when the harness dies, SIGKILL included (Linux only)."""
    if sys.platform == "linux":
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
