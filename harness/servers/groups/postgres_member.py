"""One Postgres of a group: a primary, or a standby that begins as a copy of it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from harness.backends.postgres import FOLDER, USER, PostgresBackend
from harness.servers.places import Place

COPY = (
    *("--host", "127.0.0.1", "--username", USER, "--wal-method", "stream"),
    *("--checkpoint", "fast", "--no-sync", "--write-recovery-conf"),
)
"""Options of pg_basebackup: the copy knows whom to follow, in a file of the data directory."""
IN_CONTAINER = (
    'test -s "$PGDATA/PG_VERSION" || '
    'pg_basebackup {options} --port {port} --pgdata "$PGDATA"; '
    'exec docker-entrypoint.sh "$@"'
)


class PostgresMember(PostgresBackend):
    """Postgres at a place of its own, where other members reach it too."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self._place = place


class PostgresStandby(PostgresMember):
    """A standby of the server at another place."""

    def __init__(self, place: Place, primary: Place) -> None:
        super().__init__(place)
        self._primary = primary

    def prepare(
        self, program: Path, directory: Path, data: Path, password: str, user: str | None
    ) -> None:
        copy = program.with_name("pg_basebackup")
        subprocess.run(
            [copy, *COPY, "--port", str(self._primary.port), "--pgdata", data / FOLDER],
            check=True,
            capture_output=True,
            env={**os.environ, "PGPASSWORD": password},
            user=user,
        )

    def container_arguments(self, settings: Mapping[str, str], password: str) -> list[str]:
        script = IN_CONTAINER.format(options=" ".join(COPY), port=self._primary.port)
        return ["sh", "-ec", script, "sh", *super().container_arguments(settings, password)]

    def container_environment(self, password: str) -> dict[str, str]:
        return {**super().container_environment(password), "PGPASSWORD": password}
