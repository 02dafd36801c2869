"""A server that does not come up as its row says: one clear message, and nothing left behind."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from harness import servers
from harness.attestation import AttestationError, attest
from harness.backends import Backend, backend
from harness.backends.redis import RedisBackend
from harness.contracts import contract
from harness.matrix import Cell, load
from harness.providers import provide
from harness.servers import NotRunError, StartError, directories
from harness.servers.embedded import EmbeddedServer
from harness.servers.engine import daemon_fault

CELL = load().cell("redis6_none_noeviction")
POSTGRES = load().cell("postgres16_durable_lazy_read_committed")


class Scripted(RedisBackend):
    """Redis, started by a shell script that gets the real command as its arguments."""

    def __init__(self, script: str) -> None:
        self._script = script

    def local_command(self, program: Path, directory: Path, data: Path, port: int) -> list[str]:
        command = super().local_command(program, directory, data, port)
        return ["/bin/sh", "-c", self._script, *command]

    def find_program(self, version: str) -> Path | None:
        return super().find_program("6.2")


@pytest.fixture(autouse=True)
def shared(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty place for the servers' directories, in which everybody can run a server."""
    place = tmp_path_factory.mktemp("shared")
    for folder in (place, *place.parents[:2]):
        folder.chmod(0o755)
    monkeypatch.setattr(directories, "SHARED", place)
    return place


@pytest.fixture(autouse=True)
def nothing_left(shared: Path) -> Iterator[None]:
    """Check that neither a file nor a process is left of any server."""
    before = set(psutil.Process().children())
    yield
    assert not list(shared.iterdir())
    assert not set(psutil.Process().children()) - before


def failure(server: EmbeddedServer) -> str:
    """Start a server that must fail; remove it, and return the message."""
    try:
        with pytest.raises(StartError) as caught:
            server.start()
    finally:
        server.remove()
    return str(caught.value)


@contract("hyg-3")
def test_a_server_that_dies_at_start_is_told_with_its_log() -> None:
    """Which cell, that it exited, and the end of its log; at once, not after the deadline."""
    said = failure(EmbeddedServer(CELL, Scripted("echo 'no luck today'; exit 3")))
    assert said.startswith("redis6_none_noeviction: the server exited at start (")
    assert said.endswith("\nthe end of its log:\n  no luck today")


@contract("hyg-3")
def test_a_server_that_never_listens_is_told_from_a_dead_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Which cell, that it runs, how long the harness waited for what, and the end of its log."""
    monkeypatch.setattr(servers, "START_SECONDS", 0.3)
    said = failure(EmbeddedServer(CELL, Scripted("echo 'thinking'; exec sleep 60")))
    assert said.startswith(
        "redis6_none_noeviction: the server runs, but did not serve within 0.3 s ("
    )
    assert "Connection refused" in said
    assert said.endswith("\n  thinking")


@contract("hyg-3")
def test_a_server_that_listens_late_is_waited_for() -> None:
    """Within the deadline, late is not wrong."""
    server = EmbeddedServer(CELL, Scripted('sleep 0.7; exec "$0" "$@"'))
    try:
        server.start()
        assert attest(CELL, Scripted(""), server).version.startswith("6.2")
    finally:
        server.remove()


@contract("hyg-3")
@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"+OK\r\n" * 9, b""])
def test_a_port_that_is_taken_is_told_with_the_log(answer: bytes) -> None:
    """Whoever answers at the server's port, even as a Redis would, is never taken for it."""
    server = EmbeddedServer(CELL, Scripted('sleep 0.2; exec "$0" "$@"'))
    with socket.create_server(("127.0.0.1", server._port)) as stranger:
        threading.Thread(target=_answer, args=(stranger, answer), daemon=True).start()
        said = failure(server)
    assert said.startswith("redis6_none_noeviction: the server exited at start (")
    assert "Address already in use" in said


@contract("hyg-3")
def test_a_program_that_cannot_run_is_told(shared: Path) -> None:
    """A binary that is broken is named, with the system's reason."""
    broken = shared.parent / "redis-server"
    broken.write_bytes(b"\x7fELF nonsense")
    broken.chmod(0o755)
    server = EmbeddedServer(CELL, RedisBackend())
    server._program = broken
    said = failure(server)
    assert said == (
        f"redis6_none_noeviction: {broken} does not start: [Errno 8] Exec format error: '{broken}'"
    )


@contract("hyg-3")
def test_a_server_of_another_version_is_refused() -> None:
    """Which version it is, and which its row wants."""
    row = replace(CELL, image=replace(CELL.image, version="7.0"))
    assert refusal(row, row, Scripted('exec "$0" "$@"')) == (
        "redis6_none_noeviction: the server is not what its row in matrix.toml says: "
        "version is 6.2.14, not 7.0"
    )


@contract("hyg-3")
def test_a_redis_of_another_configuration_is_refused() -> None:
    """Every setting that differs is told at once, as it is and as the row wants it."""
    assert refusal(CELL, load().cell("redis6_aof_always_allkeys_lru"), RedisBackend()) == (
        "redis6_aof_always_allkeys_lru: the server is not what its row in matrix.toml says: "
        "appendonly is 'no', not 'yes'; appendfsync is 'everysec', not 'always'; "
        "maxmemory-policy is 'noeviction', not 'allkeys-lru'"
    )


@contract("hyg-3")
def test_a_postgres_of_another_configuration_is_refused() -> None:
    """The same for Postgres."""
    row = load().cell("postgres16_durable_lazy_serializable")
    assert refusal(POSTGRES, row, backend("postgres")) == (
        "postgres16_durable_lazy_serializable: the server is not what its row in matrix.toml says: "
        "default_transaction_isolation is 'read committed', not 'serializable'"
    )


@contract("hyg-3")
def test_no_docker_is_told_with_the_address_that_was_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a daemon: where it was looked for, and what is on this machine instead."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    daemon_fault.cache_clear()
    redis9 = replace(CELL, image=replace(CELL.image, version="9"))
    said = []
    try:
        for provider in ("docker", "auto"):
            with pytest.raises(NotRunError) as caught:
                provide(redis9, RedisBackend(), provider, "")
            said.append(str(caught.value))
        assert isinstance(provide(CELL, RedisBackend(), "auto", ""), EmbeddedServer)
    finally:
        monkeypatch.undo()
        daemon_fault.cache_clear()
    nowhere = "no Docker daemon answers (unix:///nowhere.sock: No such file or directory)"
    found = RedisBackend().found()
    assert said == [
        nowhere,
        f"there is no redis-server 9 on this machine (versions found: {found}), and {nowhere}",
    ]


def refusal(started: Cell, row: Cell, software: Backend) -> str:
    """Start a server of one cell, hold it to another's row, and return the refusal."""
    server = EmbeddedServer(started, software)
    try:
        server.start()
        with pytest.raises(AttestationError) as caught:
            attest(row, software, server)
    finally:
        server.remove()
    return str(caught.value)


def _answer(listener: socket.socket, answer: bytes) -> None:
    try:
        while True:
            connection, _ = listener.accept()
            with connection:
                while connection.recv(1000) and answer:
                    connection.sendall(answer)
    except OSError:
        return  # the test has closed the listener
