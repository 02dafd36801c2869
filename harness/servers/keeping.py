"""Servers that stay up: each cell's are held by a process of their own, until it is told to end.

That process owns them as a run does, so that no sweep touches them while it lives, and the next
one removes them once it was killed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.backends import backend
from harness.backends.tenants import TenantError, tenant
from harness.matrix import STANDALONE, Cell, load
from harness.polling import eventually
from harness.providers import provide
from harness.servers import NotRunError, Server, StartError, directories
from harness.servers.ownership import is_gone, owner
from harness.servers.topology import Topology
from harness.tables import MatrixError

FILE = "up.json"
END_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Kept:
    """A cell's servers that stay up."""

    cell: str
    pid: int
    owner: str
    """The mark of the process that holds them."""
    urls: list[tuple[str, str]]
    """By member; `all` is the whole, for clients. With passwords: shown to their user alone."""

    def end(self) -> bool:
        """Remove the servers; tell whether they were gone in time."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        return eventually(lambda: is_gone(self.owner), within=END_SECONDS)


def kept() -> list[Kept]:
    """Return what this user keeps up, by cell."""
    found = []
    for path in directories.SHARED.glob(f"{directories.PREFIX}*/{FILE}"):
        with suppress(OSError, ValueError, TypeError):  # of another user, or on its way out
            if path.stat().st_uid == os.geteuid():
                found.append(Kept(**json.loads(path.read_text(encoding="utf-8"))))
    return sorted((one for one in found if not is_gone(one.owner)), key=lambda one: one.cell)


def hold(cell_id: str, provider: str) -> int:
    """Start a cell's servers, say so, and hold them until SIGTERM. Return the exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        matrix = load()
        cell = matrix.cell(cell_id)
        if cell.image.fake:
            print(f"{cell_id} is a fake, and no server to start")
            return 1
        server = provide(cell, backend(cell.backend), provider, matrix.registry)
    except (MatrixError, NotRunError) as error:
        print(error)
        return 1
    directory = None
    try:
        server.start()
        if cell.topology == STANDALONE:
            tenant(cell.backend, server.url).mark()
        directory = directories.private_directory()
        _note(directory, Kept(cell.id, os.getpid(), owner(), _urls(server)))
        _fall_silent()
        while True:
            signal.pause()
    except (NotRunError, StartError, TenantError) as error:
        print(error)
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        server.remove()
        if directory is not None:
            directories.delete(directory)


def contracts_on(cell: Cell, one: Kept) -> str | None:
    """Return the command that runs the contracts on what is up, None where none does."""
    if cell.topology != STANDALONE:
        return None
    return f"nox -s matrix -- --url '{dict(one.urls)['all']}' --cell {cell.id}"


def _urls(server: Server) -> list[tuple[str, str]]:
    members = server.member_urls() if isinstance(server, Topology) else {}
    return [("all", server.url), *members.items()]


def _note(directory: Path, one: Kept) -> None:
    """Write down what is up, wholly or not at all, for its user alone."""
    draft = directory / f"{FILE}.draft"
    draft.touch(mode=0o600)
    draft.write_text(json.dumps(asdict(one)), encoding="utf-8")
    draft.rename(directory / FILE)


def _fall_silent() -> None:
    """Let go of what reads our output: it waits for the end of it."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def main(arguments: Sequence[str]) -> int:
    """Hold what `nox -s up` asks for."""
    cell_id, provider = arguments
    return hold(cell_id, provider)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
