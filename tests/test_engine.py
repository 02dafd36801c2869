"""Docker engines that are told by DOCKER_HOST and by docker contexts."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from testcontainers.core.config import testcontainers_config

from harness.contracts import contract
from harness.servers import engine
from tests.forwarding import SocketDoor
from tests.project import SUITE, Project
from tests.runs import PASSES

pytestmark = pytest.mark.timeout(180)  # several runs in one test, on a busy machine
CELL = "redis7_none_noeviction"


@pytest.fixture
def docker_port(daemon: Any) -> Iterator[SocketDoor]:
    """The engine's socket, as a port of loopback."""
    assert daemon.ping()
    with closing(SocketDoor(engine.where().removeprefix("unix://"))) as door:
        yield door


@pytest.fixture(autouse=True)
def _no_engine_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let the environment say nothing of an engine, and keep what a test lets it say."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def use_context(folder: Path, name: str, host: str, *, tls: bool = False, current: bool) -> None:
    """Write a docker context as `docker context create` and `docker context use` do."""
    number = hashlib.sha256(name.encode()).hexdigest()
    meta = folder / "contexts" / "meta" / number
    meta.mkdir(parents=True)
    endpoints = {"docker": {"Host": host, "SkipTLSVerify": False}}
    text = json.dumps({"Name": name, "Metadata": {}, "Endpoints": endpoints})
    (meta / "meta.json").write_text(text)
    if tls:
        (folder / "contexts" / "tls" / number / "docker").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"currentContext": name} if current else {}))


@contract("hyg-4")
@pytest.mark.parametrize("how", ["DOCKER_HOST", "a context", "DOCKER_CONTEXT"])
def test_a_cell_runs_on_an_engine_that_is_reached_by_a_port(
    how: str, project: Project, docker_port: SocketDoor, tmp_path: Path
) -> None:
    """However it is told, and at the address that its containers have there."""
    project.write_contracts(PASSES)
    host, told = f"tcp://127.0.0.1:{docker_port.port}", {"DOCKER_CONFIG": str(tmp_path)}
    if how == "DOCKER_HOST":
        told["DOCKER_HOST"] = host
    else:
        use_context(tmp_path, "elsewhere", host, current=how == "a context")
        told |= {"DOCKER_CONTEXT": "elsewhere"} if how == "DOCKER_CONTEXT" else {}
    words = ("--cell", CELL, "--provider", "docker", "--store", "RedisStore")
    run = project.run(*SUITE, *words, **told)
    assert run.returncode == 0, run.stdout
    assert len(docker_port.served) > 1, "another engine was asked"
    facts = json.loads((project.reports / CELL / "facts.json").read_text())
    assert facts["provider"] == "docker"


@contract("hyg-4")
def test_members_of_a_group_need_an_engine_here(project: Project, docker_port: SocketDoor) -> None:
    """They give clients each other's addresses. Not run, with the reason."""
    project.write_contracts(PASSES)
    told = {"DOCKER_HOST": f"tcp://127.0.0.1:{docker_port.port}"}
    run = project.run(*SUITE, "--cell", "redis7_cluster", "--provider", "docker", **told)
    assert "not run: members of a group share the network of Docker's host" in run.stdout


@contract("hyg-4")
@pytest.mark.parametrize(
    ("told", "host", "published_on"),
    [
        ("unix:///var/run/docker.sock", "127.0.0.1", "127.0.0.1"),
        ("tcp://localhost:2375", "127.0.0.1", "127.0.0.1"),
        ("tcp://build.example:2376", "build.example", engine.EVERYWHERE),
        ("ssh://me@build.example", "127.0.0.1", "127.0.0.1"),
    ],
)
def test_containers_are_reached_where_their_engine_is(
    told: str, host: str, published_on: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On loopback wherever that is in reach, unless the user says where else."""
    monkeypatch.setenv("DOCKER_HOST", told)
    assert (engine.host(), engine.published_on()) == (host, published_on)
    monkeypatch.setattr(testcontainers_config, "tc_host_override", "nat.example")
    assert (engine.host(), engine.published_on()) == ("nat.example", engine.EVERYWHERE)


@contract("hyg-4")
def test_a_context_brings_its_certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DOCKER_HOST wins over DOCKER_CONTEXT, and that over the one in use, as for docker itself."""
    use_context(tmp_path, "safe", "tcp://safe.example:2376", tls=True, current=True)
    assert engine.where() == "tcp://safe.example:2376"
    assert os.environ["DOCKER_TLS_VERIFY"] == "1"
    assert Path(os.environ["DOCKER_CERT_PATH"], "..", "..").resolve().name == "tls"
    monkeypatch.setenv("DOCKER_HOST", "tcp://told.example:2375")
    assert engine.where() == "tcp://told.example:2375"


@contract("hyg-4")
def test_a_context_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its name, in the place of an engine that does not answer."""
    monkeypatch.setenv("DOCKER_CONTEXT", "typo")
    engine.daemon_fault.cache_clear()
    try:
        assert engine.daemon_fault() == "docker: there is no docker context 'typo'"
    finally:
        engine.daemon_fault.cache_clear()
