"""A Docker engine that is reached by ssh, on a real sshd where there is one."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from harness.contracts import contract
from harness.polling import eventually
from harness.servers import engine, free_port
from harness.servers.tunnel import Tunnel, TunnelError
from tests.forwarding import SocketDoor
from tests.project import SUITE, Project
from tests.runs import PASSES

pytestmark = pytest.mark.timeout(180)  # several runs in one test, on a busy machine
CELL = "redis7_none_noeviction"
SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
USER = "nobody" if os.geteuid() == 0 else None
"""Who runs sshd here, and logs in: as root it would need a user of its own on the machine."""


@pytest.fixture
def ssh_url(
    daemon: Any, tmp_path: Path, project: Project, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """The URL of this machine's engine, by way of an sshd of the test's own."""
    if SSHD is None:
        pytest.skip("there is no sshd on this machine (package openssh-server)")
    assert daemon.ping()
    folder = project.temporary  # which other users may enter
    port = free_port()
    for name in ("host_key", "own_key"):
        words = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name))
        subprocess.run(words, check=True)
    shutil.copy(folder / "own_key.pub", folder / "authorized")
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host_key\nStrictModes no\n"
        f"AuthorizedKeysFile {folder}/authorized\nPidFile none\nUsePAM yes\n"
    )
    login = USER or os.environ["USER"]
    (folder / "ssh_config").write_text(
        f"Host engine\n HostName 127.0.0.1\n Port {port}\n User {login}\n"
        f" IdentityFile {folder}/own_key\n UserKnownHostsFile /dev/null\n"
        " StrictHostKeyChecking no\n LogLevel ERROR\n"
    )
    programs = tmp_path / "programs"
    programs.mkdir()
    ssh = programs / "ssh"
    ssh.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/ssh_config "$@"\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    if USER:
        shutil.chown(folder / "host_key", USER)
    serve = [SSHD, "-D", "-e", "-f", str(folder / "sshd_config")]
    with (
        closing(SocketDoor(engine.where().removeprefix("unix://"), at=folder / "engine.sock")),
        (tmp_path / "sshd.log").open("wb") as log,
        subprocess.Popen(serve, user=USER, stderr=log, cwd="/") as server,
    ):
        (folder / "engine.sock").chmod(0o777)
        assert eventually(lambda: _listens(port), within=10), "sshd did not start"
        yield f"ssh://engine{folder}/engine.sock"
        server.terminate()


@contract("hyg-4")
def test_a_cell_runs_on_an_engine_that_is_reached_by_ssh(project: Project, ssh_url: str) -> None:
    """Engine and server are reached through one connection, which ends with the run."""
    project.write_contracts(PASSES)
    words = ("--cell", CELL, "--provider", "docker", "--store", "RedisStore")

    run = project.run(*SUITE, *words, DOCKER_HOST=ssh_url)
    assert run.returncode == 0, run.stdout
    facts = json.loads((project.reports / CELL / "facts.json").read_text())
    assert facts["provider"] == "docker"
    assert not project.processes()


@contract("hyg-4")
def test_a_host_that_ssh_does_not_reach_is_told(ssh_url: str) -> None:
    """In ssh's own words, with the host; nobody is asked for a password."""
    assert ssh_url
    with pytest.raises(
        TunnelError, match=r"^ssh nowhere\.invalid: .*[Cc]ould not resolve hostname"
    ):
        Tunnel("ssh://nowhere.invalid")
    with pytest.raises(TunnelError, match="names no host"):
        Tunnel("ssh:///var/run/docker.sock")


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True
