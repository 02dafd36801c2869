"""A disk that cannot be written: one clear message, and nothing left behind."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.backends import backend
from harness.contracts import contract
from harness.matrix import load
from harness.servers import StartError, directories
from harness.servers.embedded import EmbeddedServer
from tests.project import SUITE, Project

Mount = Callable[[str], Path]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Mount a small file system in memory, with these options."""
    place = tmp_path / "disk"
    place.mkdir()
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)

    def mounted(options: str) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"a file system cannot be mounted here: {done.stderr.strip()}")
        return place

    yield mounted
    subprocess.run(["umount", place], check=False, capture_output=True)


def failure(cell_id: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Start a server with its directory there; return the message, having removed it."""
    monkeypatch.setattr(directories, "SHARED", place)
    cell = load().cell(cell_id)
    server = EmbeddedServer(cell, backend(cell.backend))
    with pytest.raises(StartError) as caught:
        server.start()
    server.remove()
    return str(caught.value)


@contract("hyg-3")
@pytest.mark.parametrize("cell", ["redis6_none_noeviction", "postgres16_durable_lazy_serializable"])
def test_a_read_only_disk_is_told(mount: Mount, monkeypatch: pytest.MonkeyPatch, cell: str) -> None:
    """Which cell, that its data has no place, and where."""
    place = mount("ro")
    said = failure(cell, place, monkeypatch)
    assert said.startswith(f"{cell}: no data directory: [Errno 30] Read-only file system: ")
    assert str(place) in said


@contract("hyg-3")
@pytest.mark.parametrize("room", [0, 4096])
def test_a_full_disk_is_told(mount: Mount, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    """Even with room for an empty file, with which Redis would start and then refuse writes."""
    place = mount("size=8k")
    (place / "full").write_bytes(b"x" * (8192 - room))
    said = failure("redis6_aof_always_noeviction", place, monkeypatch)
    start = "redis6_aof_always_noeviction: no data directory: [Errno 28] No space left on device: "
    assert said.startswith(f"{start}'{place}/")
    assert [path.name for path in place.iterdir()] == ["full"]


@contract("hyg-3")
def test_a_disk_too_small_for_postgres_is_told_by_initdb(
    mount: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What initdb said of it."""
    place = mount("size=2m")
    said = failure("postgres16_durable_lazy_serializable", place, monkeypatch)
    assert said.startswith("postgres16_durable_lazy_serializable: no data directory: ")
    assert "No space left on device" in said
    assert not list(place.iterdir())


@contract("hyg-3")
@pytest.mark.parametrize("options", ["ro", "size=4k"])
def test_a_report_that_cannot_be_written_is_told(
    mount: Mount, project: Project, options: str
) -> None:
    """A reports folder on a read-only or full disk ends the run with one line."""
    place = mount(options)
    if options != "ro":
        (place / "full").write_bytes(b"x" * 4096)
    run = project.run(*SUITE, "--cell", "fakeredis7", f"--reports={place}")
    assert run.returncode == pytest.ExitCode.USAGE_ERROR
    lines = [line for line in run.stdout.splitlines() if line]
    assert len(lines) == 1, run.stdout
    assert lines[0].startswith("ERROR: the report cannot be written: [Errno ")
