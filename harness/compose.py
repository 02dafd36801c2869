"""`nox -s compose -- CELL`: a docker-compose.yml that starts a cell's server by itself."""

from __future__ import annotations

import argparse
import json
import secrets
import sys
from pathlib import Path

from harness.backends import Backend, backend
from harness.backends.tenants import MARKER
from harness.matrix import STANDALONE, Cell, load
from harness.servers import free_port
from harness.tables import MatrixError

PASSWORD, PORT = "MATRIX_PASSWORD", "MATRIX_PORT"
IN_PLACE = "-password-"
"""Stands for the password until all `$` of settings are doubled: compose would expand them."""
MARKING = {
    "redis": f"redis-cli SET {MARKER} yes",
    "postgres": f"psql -U matrix -c \"COMMENT ON DATABASE matrix IS '{MARKER}'\"",
}
"""How to say, in the container, that the server is disposable."""
FILE = """\
# The server of {cell}, as matrix.toml has it: `nox -s compose -- {cell}` wrote this.
# The password and the port are in .env beside it, for you alone. In this folder:
#
#   docker compose up --detach
#   docker compose exec {service} {marking}
#   set -a; . ./.env; MATRIX_URL="{url}"
#   docker compose down --volumes
#
# With that URL in the environment, contracts run on it from the project's folder:
#
#   nox -s matrix -- --provider external --cell {cell}
services:
  {service}:
    image: {image}
    command: {command}
    environment: {environment}
    ports: [{port}]
    volumes: ["data:{data}"]
    healthcheck:
      test: ["CMD-SHELL", {health}]
      interval: 1s
      timeout: 5s
      retries: 60
volumes:
  data: {{}}
"""


class ComposeError(Exception):
    """The cell's servers cannot be described by a docker-compose.yml."""


def compose(cell: Cell, software: Backend, registry: str) -> str:
    """Return the docker-compose.yml. Raises ComposeError where a file is not enough."""
    if cell.image.fake:
        raise ComposeError(f"{cell.id} is a fake, and no server to start")
    if cell.topology != STANDALONE:
        raise ComposeError(
            f"{cell.id} is a group, whose members are joined by commands after they have started, "
            f"which no docker-compose.yml can give: `nox -s up -- {cell.id}` starts it"
        )
    url = software.url("127.0.0.1", 0, IN_PLACE)
    return FILE.format(
        cell=cell.id,
        service=cell.backend,
        marking=MARKING[cell.backend],
        url=url.replace(IN_PLACE, f"${PASSWORD}").replace(":0/", f":${PORT}/"),
        image=_text(cell.image.reference(registry)),
        command=_text(software.container_arguments(cell.settings, IN_PLACE)),
        environment=_text(software.container_environment(IN_PLACE)),
        port=json.dumps(f"127.0.0.1:${{{PORT}:?}}:{software.port}"),
        data=software.data,
        health=_text(software.health()),
    )


def write(folder: Path, text: str) -> None:
    """Write the file, with a password, a port and a name of its own unless there is an .env."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "docker-compose.yml").write_text(text, encoding="utf-8")
    (folder / ".gitignore").write_text(".env\n", encoding="utf-8")
    own = folder / ".env"
    if not own.exists():
        own.touch(mode=0o600)
        # Else two folders of the same name would share a volume, and with it a password.
        name = f"{folder.resolve().name}-{secrets.token_hex(4)}"
        own.write_text(
            f"{PASSWORD}={secrets.token_urlsafe(16)}\n{PORT}={free_port()}\n"
            f"COMPOSE_PROJECT_NAME={name}\n"
        )


def main() -> int:
    """Write the file of the cell that is asked for; say what to do with it."""
    parser = argparse.ArgumentParser(prog="nox -s compose --", description=__doc__)
    parser.add_argument("cell", help="`nox -l` lists the cells, as in matrix(CELL)")
    parser.add_argument("--into", metavar="FOLDER", help="where to; compose/CELL if not given")
    options = parser.parse_args()
    try:
        matrix = load()
        cell = matrix.cell(options.cell)
        folder = Path(options.into or Path("compose", cell.id))
        write(folder, compose(cell, backend(cell.backend), matrix.registry))
    except (MatrixError, ComposeError) as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"cannot be written: {error}", file=sys.stderr)
        return 1
    print(f"{folder}/docker-compose.yml says what to do; the password is in {folder}/.env")
    return 0


def _text(value: object) -> str:
    """Return a value as YAML on one line, with the password's variable in its place."""
    return json.dumps(value).replace("$", "$$").replace(IN_PLACE, f"${{{PASSWORD}:?}}")


if __name__ == "__main__":
    sys.exit(main())
