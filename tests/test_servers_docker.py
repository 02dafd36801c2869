"""The same for servers in containers, and what the user of a run sees of it."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from harness import servers
from harness.attestation import AttestationError, attest
from harness.backends import NotReadyError, backend
from harness.contracts import contract
from harness.matrix import Cell, load
from harness.servers import NotRunError, StartError, docker, free_port
from harness.servers.docker import DockerServer
from harness.servers.ownership import LABEL, owner
from tests.project import SUITE, Project

MATRIX = load()
REDIS = MATRIX.cell("redis7_none_noeviction")


@pytest.fixture(autouse=True)
def nothing_left(daemon: Any) -> Iterator[None]:
    """Check that no container of this process is left."""
    yield
    assert not daemon.api.containers(all=True, filters={"label": f"{LABEL}={owner()}"})


def with_settings(cell: Cell, **settings: str) -> Cell:
    """Return the cell with other settings, whose names have dashes for underscores."""
    changed = {name.replace("_", "-"): value for name, value in settings.items()}
    return replace(cell, settings={**cell.settings, **changed})


def server_of(cell: Cell) -> DockerServer:
    """Return a server of the cell, not started."""
    return DockerServer(cell, backend(cell.backend), MATRIX.registry)


def failure(cell: Cell, *, ran: bool = True) -> str:
    """Start a server that must fail, and return the message; it has the log of one that ran."""
    server = server_of(cell)
    with pytest.raises(StartError) as caught:
        server.start()
    log = server.logs().strip().splitlines()[-15:]
    assert log or not ran
    for line in log:
        assert line in str(caught.value), "the log outlives its container"
    return str(caught.value)


@contract("hyg-3")
def test_a_container_that_dies_at_start_is_told_with_its_log() -> None:
    """Which cell, that it exited, and the end of its log, which outlives the container."""
    said = failure(with_settings(REDIS, maxmemory_policy="nonsense"))
    assert said.startswith("redis7_none_noeviction: the server exited at start (")
    assert "FATAL CONFIG FILE ERROR" in said


@contract("hyg-3")
def test_a_container_that_never_listens_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which cell, that it runs, and how long the harness waited."""
    monkeypatch.setattr(servers, "START_SECONDS", 0.5)
    said = failure(with_settings(REDIS, port="6380"))
    assert said.startswith(
        "redis7_none_noeviction: the server runs, but did not serve within 0.5 s ("
    )


@contract("hyg-3")
def test_an_image_of_another_version_is_refused() -> None:
    """Which version it is, and which its row wants."""
    old = MATRIX.cell("redis6_none_noeviction").image.image
    known = {name: REDIS.settings[name] for name in REDIS.settings if "debug" not in name}
    row = replace(REDIS, image=replace(REDIS.image, image=old), settings=known)
    server = server_of(row)
    try:
        server.start()
        with pytest.raises(AttestationError, match=r"version is 6\.2\.14, not 7\.0$"):
            attest(row, backend("redis"), server)
    finally:
        server.remove()


@contract("hyg-3")
def test_an_image_of_another_version_that_does_not_start_is_told() -> None:
    """Also where it refuses a setting that it does not know."""
    old = MATRIX.cell("redis6_none_noeviction").image.image
    server = server_of(replace(REDIS, image=replace(REDIS.image, image=old)))
    try:
        with pytest.raises(StartError) as caught:
            server.start()
    finally:
        server.remove()
    said = f"{REDIS.id}: version is 6.2.14, not 7.0; the server exited at start ("
    assert str(caught.value).startswith(said)
    assert "enable-debug-command" in str(caught.value)


@contract("hyg-3")
def test_an_image_of_another_digest_is_refused() -> None:
    """A row that names a digest is held to it."""
    digest = f"sha256:{'0' * 64}"
    row = replace(REDIS, image=replace(REDIS.image, digest=digest))
    server = server_of(row)
    try:
        server.start()
        with pytest.raises(AttestationError, match=rf"image digest is \S+, not {digest}$"):
            attest(row, backend("redis"), server)
    finally:
        server.remove()


@contract("hyg-3")
def test_an_image_that_cannot_be_had_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which image, why, and the two ways out; the cell is not run."""
    monkeypatch.setenv("MATRIX_REGISTRY", "localhost:1/nowhere")
    with pytest.raises(NotRunError) as caught:
        server_of(REDIS).start()
    said = str(caught.value)
    assert said.startswith(
        "the image localhost:1/nowhere/redis:7.0 is not here and cannot be pulled"
    )
    assert "MATRIX_REGISTRY names a mirror, --provider embedded needs no image" in said
    assert len(said.splitlines()) == 1


@pytest.fixture(params=["the host's network", "published ports"])
def network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each way in which the port of a container is reached."""
    if request.param == "published ports":
        monkeypatch.setattr(docker, "host_network_fault", lambda: "an engine elsewhere")


@contract("hyg-3")
@pytest.mark.usefixtures("network")
@pytest.mark.parametrize("cell", [REDIS, MATRIX.cell("postgres16_durable_lazy_read_committed")])
def test_a_container_serves_on_loopback_alone(cell: Cell) -> None:
    """With its password, at no other address, and again after it was killed."""
    server = server_of(cell)
    try:
        server.start()
        server.kill()
        server.start()
        parts = urlsplit(server.url)
        listening = [
            one.laddr.ip
            for one in psutil.net_connections("tcp")
            if one.status == psutil.CONN_LISTEN and one.laddr and one.laddr.port == parts.port
        ]
        assert set(listening) == {"127.0.0.1"}
        with pytest.raises(NotReadyError, match="password"):
            backend(cell.backend).check(server.url.replace(f":{parts.password}@", ":wrong@"))
    finally:
        server.remove()


@contract("hyg-3")
@pytest.mark.usefixtures("network")
def test_a_port_that_was_taken_meanwhile_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between choosing a port and using it, another process may take it."""
    with socket.create_server(("127.0.0.1", free_port())) as stranger:
        taken = stranger.getsockname()[1]
        ports = iter([taken, free_port()])
        monkeypatch.setattr(docker, "free_port", lambda: next(ports))
        server = server_of(REDIS)
        try:
            server.start()
            assert f":{taken}/" not in server.url
        finally:
            server.remove()


@contract("hyg-3")
@pytest.mark.usefixtures("network")
def test_a_port_that_is_always_taken_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """After some attempts, with what Docker or the server said."""
    with socket.create_server(("127.0.0.1", free_port())) as stranger:
        monkeypatch.setattr(docker, "free_port", lambda: stranger.getsockname()[1])
        said = failure(REDIS, ran=False)
    assert said.startswith("redis7_none_noeviction: ")
    assert re.search("address already in use|port is already allocated", said, re.IGNORECASE)


@contract("hyg-3")
def test_a_run_tells_a_fault_once_and_is_red(project: Project) -> None:
    """The message is all that a run prints, its report and the log are kept, its exit is red."""
    project.change_matrix(
        'maxmemory = "96mb", databases = "1"', 'maxmemory = "a lot", databases = "1"'
    )
    run = project.run(*SUITE, "--cell", REDIS.id, "--provider", "docker")
    assert run.returncode == pytest.ExitCode.USAGE_ERROR
    assert run.stdout.startswith(f"ERROR: {REDIS.id}: the server exited at start ("), run.stdout
    assert run.stdout.count("FATAL CONFIG FILE ERROR") == 1
    assert "Traceback" not in run.stdout
    report = project.reports / REDIS.id
    outcome = json.loads((report / "outcome.json").read_text())
    assert outcome["outcome"] == "error"
    assert outcome["reason"] in run.stdout
    assert "FATAL CONFIG FILE ERROR" in (report / "server.log").read_text()
    assert not project.processes()
    assert not list(project.temporary.iterdir())
