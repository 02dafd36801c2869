"""What a run has on the machine while it runs, and what of that is left afterwards."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from harness.polling import eventually
from harness.servers.ownership import LABEL
from tests.project import Project

SERVERS = ("redis-server", "postgres")


@dataclass(slots=True)
class Traces:
    """Of one run: server processes by pid, shared memory, containers, volumes and ports."""

    servers: set[int] = field(default_factory=set)
    memory: set[str] = field(default_factory=set)
    containers: set[str] = field(default_factory=set)
    volumes: set[str] = field(default_factory=set)
    ports: set[int] = field(default_factory=set)

    def left(self, project: Project, client: Any) -> list[str]:
        """Return what is still there, as text; nothing if the run cleaned up.

        Worker processes end by themselves, a moment after a run that was killed.
        """
        found: list[str] = []

        def nothing() -> bool:
            found[:] = self._left(project, client)
            return not found

        eventually(nothing, within=1)
        return found

    def _left(self, project: Project, client: Any) -> list[str]:
        left = [f"process {process}" for process in project.processes()]
        left += [f"file {path.name}" for path in project.temporary.iterdir()]
        left += [f"memory {name}" for name in self.memory if _memory_exists(name)]
        left += [f"port {port}" for port in self.ports if _listens(port)]
        if client is not None:
            there = {row["Id"] for row in client.api.containers(all=True)}
            left += [f"container {one}" for one in self.containers & there]
            named = {volume["Name"] for volume in client.api.volumes()["Volumes"] or []}
            left += [f"volume {one}" for one in self.volumes & named]
        return left


def traces_of(project: Project, client: Any) -> Traces:
    """Return what the project's running commands have on the machine now."""
    found = Traces()
    pids = set()
    for process in project.processes():
        pids.add(str(process.pid))
        found.memory |= _shared_memory(process.pid)
        if process.name() in SERVERS:
            found.servers.add(process.pid)
            found.ports |= _listening(process)
    if client is not None:
        for row in client.api.containers(all=True, filters={"label": LABEL}):
            if row["Labels"][LABEL].split("/")[1] in pids:
                found.containers.add(row["Id"])
                found.volumes |= {mount["Name"] for mount in row["Mounts"] if "Name" in mount}
                found.ports |= {port["PublicPort"] for port in row["Ports"]}
                pid = client.api.inspect_container(row["Id"])["State"]["Pid"]
                if pid:
                    found.ports |= _listening(psutil.Process(pid))
    return found


def _listening(process: psutil.Process) -> set[int]:
    """Return the ports on which a process listens; none if it has just ended."""
    try:
        connections = process.net_connections("tcp")
    except psutil.NoSuchProcess:
        return set()
    return {one.laddr.port for one in connections if one.status == "LISTEN" and one.laddr}


def _shared_memory(pid: int) -> set[str]:
    """Return a process's files in /dev/shm, and the ids of its System V segments."""
    found: set[str] = set()
    try:
        maps = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return found
    for line in maps.splitlines():
        *_, inode, path = [*line.split(maxsplit=5), ""][:6]
        if path.startswith("/dev/shm/") and not path.endswith(" (deleted)"):  # noqa: S108 - only looked at
            found.add(path)
        elif path.startswith("/SYSV"):
            found.add(inode)
    return found


def _memory_exists(name: str) -> bool:
    if name.startswith("/"):
        return Path(name).exists()
    segments = Path("/proc/sysvipc/shm").read_text(encoding="utf-8").splitlines()[1:]
    return name in {line.split()[1] for line in segments}


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
