"""Running servers: one protocol, whoever provides them."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from harness.backends import Backend, NotReadyError, version_matches
from harness.faults.disk import Disk
from harness.matrix import Cell

START_SECONDS = 20.0
"""How long a server may take to serve. Containers here take 0.3 s; slow disks and CI take more."""
POLL_SECONDS = 0.01
NEED_DISK = frozenset({"power_cut", "disk_pressure"})
"""What needs a server whose data lies on a `Disk`."""
NEED_FILES = frozenset({"server_states", "log_tail"})
"""What needs a server whose data is in files that this process may change."""
LOOK_SECONDS = 0.1
"""Between looks at whether the server still runs: asking Docker costs more than asking Redis."""


class StartError(Exception):
    """The server did not come up as its row says: which, why, and the end of its log."""


class ExitedError(StartError):
    """The server gave up by itself at start: it refused its data or its settings."""

    def __init__(self, said: str, log: str) -> None:
        super().__init__(said)
        self.log = log


class NotRunError(Exception):
    """This machine cannot run the cell with this provider, for the reason given."""


class Server(Protocol):
    """A server of one cell. Its address stays the same across stops and kills."""

    url: str
    provider: str
    image_digest: str | None

    def start(self) -> None:
        """Start with the data there is; return once it serves. Raises StartError."""

    def stop(self) -> None:
        """Stop cleanly, as an operator would."""

    def kill(self) -> None:
        """Kill with SIGKILL: the process is gone, what the kernel holds is not."""

    def power_cut(self) -> None:
        """Kill it as a power cut would: what it had not synced to its disk is gone."""

    def cannot(self, event: str) -> str | None:
        """Return why this machine cannot make an event happen to it, None if it can."""

    def remove(self) -> None:
        """End it and delete all that it left. Doing so twice is fine."""

    def logs(self) -> str:
        """Return what the server logged so far."""


class Copyable(Server, Protocol):
    """A server whose data another can start with: one of one process and one directory."""

    def copy(self, cell: Cell) -> Copyable:
        """Return a server of another row, not started, that will have this one's data.

        The data is copied when it starts; this one must be stopped then.
        """

    def put(self, name: str, content: bytes) -> str:
        """Write a file beside the server; return the path under which its programs find it."""

    def run(self, program: str, *arguments: str) -> bytes:
        """Run one of the programs that came with the server; return what it prints.

        Raises ProgramError with what it complained of.
        """


class ProgramError(Exception):
    """A program that came with a server failed. The text is what it said."""


class OneServer(Server, Protocol):
    """A server that is one main process on this machine, with its data in one directory."""

    disk: Disk | None
    """Its own disk, where this machine can make one (`cannot`)."""

    @property
    def data(self) -> Path:
        """The directory of its data, where the server's own user may write."""

    @property
    def pid(self) -> int:
        """The main process, as this machine counts."""

    def launch(self) -> None:
        """Start with the data there is, and return at once; `start` waits until it serves."""


def let_happen(event: str, server: Server) -> None:
    """Stop, kill or cut the power of a server, by the event's name in matrix.toml."""
    {"restart": server.stop, "kill": server.kill, "power_cut": server.power_cut}[event]()


def wait_until_serving(
    cell: Cell,
    backend: Backend,
    check: Callable[[], None],
    alive: Callable[[], bool],
    logs: Callable[[], str],
) -> None:
    """Poll until the check passes. Raises StartError soon after the server is gone."""
    name = cell.id
    looked = time.monotonic()
    deadline = looked + START_SECONDS
    while True:
        fault = "another server answers at its address"
        try:
            check()
            if alive():
                return
        except NotReadyError as error:
            fault = str(error)
        now = time.monotonic()
        if now - looked >= LOOK_SECONDS and not alive():
            log = logs()
            other = _other_version(cell, backend, log)
            said = f"{name}: {other}the server exited at start ({fault})\n{tail(log)}"
            raise ExitedError(said, log)
        looked = now if now - looked >= LOOK_SECONDS else looked
        if now > deadline:
            raise StartError(
                f"{name}: the server runs, but did not serve within {START_SECONDS:g} s "
                f"({fault})\n{tail(logs())}"
            )
        time.sleep(POLL_SECONDS)


def _other_version(cell: Cell, backend: Backend, log: str) -> str:
    """Return that a server which may not know its settings is of another version than its row."""
    found, wanted = backend.version_in(log), cell.image.version
    if found is None or version_matches(found, wanted):
        return ""
    return f"version is {found}, not {wanted}; "


def tail(log: str, lines: int = 15) -> str:
    """Return the last lines of a log, for messages."""
    kept = log.strip().splitlines()[-lines:]
    return "\n".join(["the end of its log:", *(f"  {line}" for line in kept or ["(empty)"])])


def free_port() -> int:
    """Return a loopback port that nobody listens on.

    Below the range from which clients get theirs (32768 and up on Linux), so that no
    client can take it while the server is down for a moment.
    """
    for port in random.sample(range(20000, 32000), 200):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise StartError("no free port between 20000 and 32000 on 127.0.0.1")
