"""A docker-compose.yml of a cell starts a server that is what the cell's row says."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.backends import backend
from harness.compose import MARKING, PASSWORD, PORT, ComposeError, compose, write
from harness.contracts import contract
from harness.matrix import load
from harness.options import URL_VARIABLE
from harness.polling import eventually
from harness.servers.external import ExternalServer
from tests.project import Project

pytestmark = pytest.mark.timeout(180)  # several runs in one test, on a busy machine
MATRIX = load()
PROGRAMS = (["docker", "compose"], ["docker-compose"])
CELLS = ("redis7_rdb_volatile_ttl", "postgres15_async_commit_swept_read_committed")


@pytest.fixture(scope="session")
def program(daemon: Any) -> list[str]:
    """The program that runs such files; without one the test does not run, which fails in CI."""
    assert daemon.ping()
    for words in PROGRAMS:
        if shutil.which(words[0]):
            asked = subprocess.run([*words, "version"], capture_output=True, check=False)
            if asked.returncode == 0:
                return words
    if os.environ.get("CI", "").lower() in {"1", "true"}:
        pytest.fail("no docker compose, and with CI=true everything must run")
    pytest.skip("there is neither `docker compose` nor `docker-compose`")


@pytest.fixture(params=CELLS)
def written(request: pytest.FixtureRequest, tmp_path: Path, program: list[str]) -> Iterator[Path]:
    """A cell's file, whose server is gone at the end."""
    cell = MATRIX.cell(request.param)
    folder = tmp_path / cell.id
    write(folder, compose(cell, backend(cell.backend), MATRIX.registry))
    yield folder
    run(program, folder, "down", "--volumes")


def run(program: list[str], folder: Path, *words: str) -> str:
    """Run the program in a folder; return what it prints."""
    done = subprocess.run(
        [*program, *words], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@contract("hyg-3")
def test_its_server_is_healthy_and_what_the_row_says(
    written: Path, program: list[str], monkeypatch: pytest.MonkeyPatch, daemon: Any
) -> None:
    """Started, healthy, marked by the file's own command, attested; and nothing is left of it."""
    cell = MATRIX.cell(written.name)
    run(program, written, "up", "--detach")
    number = run(program, written, "ps", "--quiet").strip()

    def health() -> str:
        return str(daemon.api.inspect_container(number)["State"]["Health"]["Status"])

    assert eventually(lambda: health() == "healthy", within=60), health()
    inside = run(program, written, "exec", "-T", cell.backend, "sh", "-c", MARKING[cell.backend])
    assert inside.strip() in {"OK", "COMMENT"}
    own = dict(line.split("=", 1) for line in (written / ".env").read_text().splitlines())
    url = backend(cell.backend).url("127.0.0.1", int(own[PORT]), own[PASSWORD])
    monkeypatch.setenv(URL_VARIABLE, url)
    server = ExternalServer(cell, backend(cell.backend))
    server.start()
    server.remove()
    published = daemon.api.inspect_container(number)["NetworkSettings"]["Ports"]
    assert {one["HostIp"] for ports in published.values() for one in ports or []} == {"127.0.0.1"}
    volumes = [one["Name"] for one in daemon.api.inspect_container(number)["Mounts"]]
    run(program, written, "down", "--volumes")
    left = {one["Name"] for one in daemon.api.volumes()["Volumes"] or []}
    assert volumes
    assert not left & set(volumes)


def test_folders_of_one_name_share_nothing(tmp_path: Path) -> None:
    """Each has a project of its own, and with it a container and a volume."""
    names = set()
    for folder in (tmp_path / "one" / "same", tmp_path / "other" / "same"):
        write(folder, "")
        names.add((folder / ".env").read_text().splitlines()[2])
    assert len(names) == 2


@contract("hyg-2")
def test_the_password_is_in_a_file_that_git_ignores(tmp_path: Path) -> None:
    """For its owner alone; the file itself has none, and writing it again keeps both."""
    cell = MATRIX.cell(CELLS[0])
    text = compose(cell, backend(cell.backend), "mirror.example")
    for _ in range(2):
        write(tmp_path, text)
        before = (tmp_path / ".env").read_text()
    assert (tmp_path / ".env").read_text() == before
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / ".gitignore").read_text() == ".env\n"
    password = before.splitlines()[0].partition("=")[2]
    assert len(password) > 16
    assert password not in text


@contract("hyg-4")
@pytest.mark.parametrize(
    ("cell_id", "said"),
    [
        ("redis7_cluster", "`nox -s up -- redis7_cluster` starts it"),
        ("fakeredis7", "is a fake, and no server to start"),
    ],
)
def test_what_is_no_single_server_is_refused(cell_id: str, said: str) -> None:
    """With the reason, and what to do instead."""
    cell = MATRIX.cell(cell_id)
    with pytest.raises(ComposeError, match=said):
        compose(cell, backend(cell.backend), "")


@contract("hyg-4")
def test_the_session_writes_and_refuses(project: Project) -> None:
    """`nox -s compose -- CELL` says where the file is; a wrong cell is one line, exit not 0."""
    wrote = project.nox("-s", "compose", "--", CELLS[0])
    assert wrote.returncode == 0, wrote.stdout
    assert f"compose/{CELLS[0]}/docker-compose.yml says what to do" in wrote.stdout
    assert (project.folder / "compose" / CELLS[0] / "docker-compose.yml").exists()
    refused = project.nox("-s", "compose", "--", "redis7_clustre")
    assert refused.returncode != 0
    assert "there is no cell 'redis7_clustre'" in refused.stdout
