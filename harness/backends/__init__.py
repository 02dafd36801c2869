"""What the harness knows of each server software: how to start it, reach it and read it back."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from harness.faults.states import States
from harness.inspectors import Inspector

if TYPE_CHECKING:
    from harness.servers import OneServer


class NotReadyError(Exception):
    """The server does not answer yet; ask again."""


class Backend(Protocol):
    """One server software."""

    port: int
    """The port inside a container."""
    data: str
    """The data directory inside a container."""
    program: str
    """The server's binary."""

    def url(self, host: str, port: int, password: str) -> str:
        """Return the URL for clients."""

    def arguments(self, settings: Mapping[str, str]) -> list[str]:
        """Return the settings as the binary's command line takes them."""

    def listening(self, port: int) -> dict[str, str]:
        """Return the settings with which it listens on a loopback port, and nowhere else."""

    def container_arguments(self, settings: Mapping[str, str], password: str) -> list[str]:
        """Return the command that the official image takes."""

    def container_environment(self, password: str) -> dict[str, str]:
        """Return the environment that the official image takes."""

    def quick_login(self, password: str) -> dict[str, str]:
        """Return what stands for a strong password there, so that logins cost little."""

    def health(self) -> str:
        """Return the shell command that succeeds in a container once the server serves."""

    def check(self, url: str) -> None:
        """Return once the server serves; raise NotReadyError while it does not."""

    def version(self, url: str) -> str:
        """Return the version that the server gives of itself."""

    def version_in(self, log: str) -> str | None:
        """Return the version that a log tells, None where it tells none."""

    def effective(self, url: str, settings: Mapping[str, str]) -> dict[str, str]:
        """Read the settings named back from the server."""

    def normal(self, name: str, value: str) -> str:
        """Return a setting's value in the form in which the server gives it back."""

    def inspector(self, url: str, namespace: str) -> Inspector:
        """Return raw access to a namespace; those of one URL share a connection."""

    def state_names(self, topology: str) -> tuple[str, ...]:
        """Return the states that `states` can bring a server into."""

    def states(self, server: OneServer) -> States:
        """Return what can be done to a running server so that it refuses calls."""

    def log(self, data: Path) -> Path:
        """Return the file at whose end a server writes what it acknowledges."""

    def close(self) -> None:
        """Close the inspectors' connections."""

    def sweeper(self, url: str, every: float, batch: int = 500) -> AbstractContextManager[object]:
        """Return what deletes expired sessions, in the block, for rows with ``sweep_every``."""

    def find_program(self, version: str) -> Path | None:
        """Return a binary of this version on this machine or in the ``embedded`` extra."""

    def found(self) -> str:
        """Return the versions on this machine, for messages."""

    def configure(self, directory: Path, password: str, user: str | None) -> None:
        """Write what a local server needs beside its data into its private directory."""

    def prepare(
        self, program: Path, directory: Path, data: Path, password: str, user: str | None
    ) -> None:
        """Fill the data directory of a new local server (run as ``user``)."""

    def login(self, host: str, port: int, password: str) -> dict[str, str]:
        """Return the environment in which the server's own programs find it, as its owner."""

    def dump(self) -> list[str]:
        """Return the command that prints all data as its vendor's tools would restore it."""

    def restore(self, dump: str) -> list[str]:
        """Return the command that puts a dump's file into a fresh server."""

    def local_command(self, program: Path, directory: Path, data: Path, port: int) -> list[str]:
        """Return the command that serves the data on a loopback port, settings not included."""


def version_matches(version: str, prefix: str) -> bool:
    """Tell whether a version is the prefix or continues it after a dot: 7.0.15 matches 7.0."""
    return version == prefix or version.startswith(prefix + ".")


def backend(name: str) -> Backend:
    """Return the backend of this name."""
    if name == "redis":
        from harness.backends.redis import RedisBackend  # noqa: PLC0415 - only the driver needed

        return RedisBackend()
    if name == "mock":
        from harness.mocked.server import MockBackend  # noqa: PLC0415 - no driver at all

        return cast(Backend, MockBackend())
    from harness.backends.postgres import PostgresBackend  # noqa: PLC0415

    return PostgresBackend()
