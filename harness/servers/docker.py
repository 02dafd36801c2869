"""Servers in containers, through testcontainers: the authority."""

from __future__ import annotations

import io
import os
import secrets
import socket
import sys
import tarfile
import time
from collections.abc import Callable
from contextlib import closing
from functools import cache, partial
from pathlib import Path
from typing import Any, cast

# Our own label sweep does Ryuk's work without needing its image.
os.environ["TESTCONTAINERS_RYUK_DISABLED"] = "true"

import docker
from docker.errors import APIError, DockerException, ImageNotFound
from requests.exceptions import RequestException
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.waiting_utils import WaitStrategy, WaitStrategyTarget

from harness.backends import Backend
from harness.faults.disk import Disk
from harness.faults.disk import fault as disk_fault
from harness.faults.freeze import freeze
from harness.matrix import Cell
from harness.servers import (
    NEED_DISK,
    NEED_FILES,
    POLL_SECONDS,
    NotRunError,
    ProgramError,
    StartError,
    free_port,
    wait_until_serving,
)
from harness.servers.directories import delete, private_directory
from harness.servers.ownership import LABEL, is_gone, owner
from harness.servers.places import Place

# Registries are swapped by matrix.toml and MATRIX_REGISTRY; this prefix mangles names.
testcontainers_config.hub_image_name_prefix = ""

PORT_ATTEMPTS = 5
CREATE_SECONDS = 2.0
"""How long Docker may go on creating a container whose request was interrupted."""
NOT_FOUND, CONFLICT = 404, 409
"""A conflict is a removal that is under way."""
FAULTS = (DockerException, RequestException)


class Serving(WaitStrategy):
    """Wait until the server serves; fail at once, with the log's end, where it exits."""

    def __init__(self, server: DockerServer) -> None:
        super().__init__()
        self._server = server

    def wait_until_ready(self, container: WaitStrategyTarget) -> None:
        """Return once the server serves."""
        self._server.wait(container)


class DockerServer:
    """`harness.servers.Server` in a container, on a loopback port chosen once."""

    provider = "docker"

    def __init__(
        self,
        cell: Cell,
        backend: Backend,
        registry: str,
        place: Place | None = None,
        origin: DockerServer | None = None,
    ) -> None:
        """Make a server of a cell, at a place of its own choice unless it is given one.

        Given an origin, it starts with a copy of that server's data.
        """
        self._cell = cell
        self._backend = backend
        self._registry = registry
        self._origin = origin
        self._reference = cell.image.reference(registry)
        self._place = place
        self._password: str = place.password if place else secrets.token_urlsafe(16)
        if origin is not None:
            self._password = origin._password  # noqa: SLF001 - of this class; copied data hold it
        self._name = f"{LABEL}-{cell.id}-{secrets.token_hex(4)}"
        self._container: DockerContainer | None = None
        self._directory: Path | None = None
        self.disk: Disk | None = None
        self._inner_port = backend.port
        self._last_log = ""
        self.image_digest: str | None = None
        self.url = ""

    def start(self) -> None:
        if self._container is None:
            self._create()
            return
        self.launch()
        self.wait(self._container)

    def launch(self) -> None:
        try:
            self._wrapped().start()
        except FAULTS as error:
            raise StartError(f"{self._cell.id}: Docker refused: {_cause(error)}") from error

    def stop(self) -> None:
        self._wrapped().stop(timeout=10)

    def kill(self) -> None:
        try:
            self._wrapped().kill()
        except APIError as error:
            if error.status_code != CONFLICT:  # it had ended by itself
                raise

    def power_cut(self) -> None:
        assert self.disk is not None
        # Nothing may be acknowledged after the cut. (Docker's pause is slow to forget itself.)
        freeze(self.pid)
        self.disk.cut_power()
        self.kill()
        self._wrapped().wait()
        self.disk.restore_power()

    def cannot(self, event: str) -> str | None:
        if event == "pause":
            return None if _engine_is_here() else "a remote Docker engine's processes are not here"
        return self._no_disk() if event in {*NEED_DISK, *NEED_FILES, "changes"} else None

    @property
    def data(self) -> Path:
        assert self.disk is not None
        return self.disk.mount_point

    @property
    def pid(self) -> int:
        self._wrapped().reload()
        return int(self._wrapped().attrs["State"]["Pid"])

    def copy(self, cell: Cell) -> DockerServer:
        return DockerServer(cell, self._backend, self._registry, origin=self)

    def put(self, name: str, content: bytes) -> str:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o644
            archive.addfile(member, io.BytesIO(content))
        self._wrapped().put_archive("/tmp", packed.getvalue())  # noqa: S108 - of the container
        return f"/tmp/{name}"  # noqa: S108 - the same

    def run(self, program: str, *arguments: str) -> bytes:
        code, (printed, complained) = self._wrapped().exec_run(
            [program, *arguments],
            environment=self._backend.login("127.0.0.1", self._inner_port, self._password),
            demux=True,
        )
        if code:
            raise ProgramError((complained or b"").decode(errors="replace").strip())
        return bytes(printed or b"")

    def remove(self) -> None:
        self._remove_container()
        if self._directory is not None:
            delete(self._directory)
            self._directory = None

    def _remove_container(self) -> None:
        if self._container is not None:
            self._last_log = self.logs()
            container, self._container = self._container, None
            _removed(container.stop)

    def logs(self) -> str:
        """Return what the server logged so far; after its removal, what it had logged then."""
        try:
            return str(self._wrapped().logs().decode(errors="replace"))
        except (StartError, AttributeError, *FAULTS):  # there is no container (yet, or any more)
            return self._last_log

    def wait(self, container: Any) -> None:
        """Return once the server serves; raise StartError where it does not."""
        wrapped = container.get_wrapped_container()

        def alive() -> bool:
            try:
                wrapped.reload()
            except FAULTS:
                return False
            return str(wrapped.status) == "running"

        wait_until_serving(
            self._cell, self._backend, lambda: self._backend.check(self.url), alive, self.logs
        )

    def _create(self) -> None:
        self.image_digest = _digest(self._reference)
        if self._no_disk() is None:
            self._directory = private_directory()
            self.disk = Disk(self._directory, origin=self._origin.disk if self._origin else None)
        for attempt in range(PORT_ATTEMPTS):
            port = self._place.port if self._place else free_port()
            self.url = self._backend.url("127.0.0.1", port, self._password)
            self._container = self._described(port)
            try:
                self._container.start()
            except (StartError, *FAULTS) as error:
                self._remove_container()
                if _port_taken(error) and attempt + 1 < PORT_ATTEMPTS and not self._place:
                    continue  # another process took the port first
                if isinstance(error, StartError):
                    raise
                raise StartError(f"{self._cell.id}: Docker refused: {_cause(error)}") from error
            except BaseException:
                self.remove()
                _remove_unfinished(self._name)
                raise
            return

    def _described(self, port: int) -> DockerContainer:
        container = DockerContainer(self._reference).with_name(self._name)
        on_host, settings = host_network_fault() is None, self._cell.settings
        if on_host:
            settings = {**self._backend.listening(port), **settings}
            self._inner_port = port
        container.with_command(self._backend.container_arguments(settings, self._password))
        container.with_envs(**self._backend.container_environment(self._password))
        options: dict[str, Any] = {"labels": {LABEL: owner()}}
        if self.disk is not None:
            container.with_volume_mapping(str(self.disk.mount_point), self._backend.data, "rw")
        if on_host:
            # No proxy between, which costs more than the server itself; and members of a group
            # give clients each other's addresses.
            options["network_mode"] = "host"
        else:
            ports = {self._backend.port: ("127.0.0.1", port)}
            container.ports = cast("dict[str, int | None]", ports)
        container.with_kwargs(**options)
        return container.waiting_for(Serving(self))

    def _no_disk(self) -> str | None:
        if lacking := self._cell.lacks.get("power_cut"):
            return lacking
        if _engine_is_here():
            return disk_fault()
        return "the power of a remote Docker engine's disks cannot be cut from here"

    def _wrapped(self) -> Any:
        if self._container is None:
            raise StartError(f"{self._cell.id}: there is no container")
        return self._container.get_wrapped_container()


def _engine_is_here() -> bool:
    return os.environ.get("DOCKER_HOST", "unix://").startswith("unix://")


@cache
def daemon_fault() -> str | None:
    """Return why no Docker daemon answers, or None if one does."""
    where = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    try:
        if where.startswith("unix://"):  # docker leaves a socket open that cannot connect
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(where.removeprefix("unix://"))
        with closing(docker.from_env(timeout=5)) as client:
            client.ping()
    except (OSError, *FAULTS) as error:
        return f"{where}: {_cause(error)}"
    return None


@cache
def host_network_fault() -> str | None:
    """Return why containers in the network of Docker's host are not in reach, None if they are.

    Servers of one cell go there where they can; members of a group must.
    """
    said = "members of a group share the network of Docker's host, "
    if sys.platform != "linux":
        return f"{said}which is ours on Linux only"
    if not _engine_is_here():
        return f"{said}which is another machine"
    with closing(docker.from_env()) as client:
        about = client.info()
    if about["Name"] != socket.gethostname():  # a virtual machine's, or around our container
        return f"{said}which is {about['Name']}, not {socket.gethostname()}"
    if any("rootless" in option for option in about["SecurityOptions"]):
        return f"{said}which a daemon without root keeps to itself"
    return None


def sweep() -> list[str]:
    """Remove containers, with their volumes, whose owner is gone; return their names."""
    removed = []
    with closing(docker.from_env()) as client:
        # One request: asking for each container fails where another run removes it meanwhile.
        for container in client.api.containers(all=True, filters={"label": LABEL}):
            if is_gone(container["Labels"][LABEL]):
                remove = partial(client.api.remove_container, container["Id"], force=True, v=True)
                if _removed(remove):
                    removed.append(container["Names"][0].lstrip("/"))
    return removed


def _remove_unfinished(name: str) -> None:
    """Remove a container whose creation was interrupted: Docker may still be at it."""
    deadline = time.monotonic() + CREATE_SECONDS
    with closing(docker.from_env()) as client:
        remove = partial(client.api.remove_container, name, force=True, v=True)
        while not _removed(remove) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)


def _removed(remove: Callable[[], object]) -> bool:
    """Remove a container; tell whether it was there, or somebody else (a sweep) was faster."""
    try:
        remove()
    except APIError as error:
        if error.status_code in {NOT_FOUND, CONFLICT}:
            return False
        raise
    return True


def _digest(reference: str) -> str:
    """Return the image's digest, pulling it where it is not here."""
    with closing(docker.from_env()) as client:
        try:
            try:
                image = client.images.get(reference)
            except ImageNotFound:
                image = client.images.pull(reference)
            return str((image.attrs.get("RepoDigests") or [image.id])[0])
        except FAULTS as error:
            raise NotRunError(
                f"the image {reference} is not here and cannot be pulled ({_cause(error)}); "
                "MATRIX_REGISTRY names a mirror, --provider embedded needs no image"
            ) from error


def _cause(error: BaseException) -> str:
    """Return what the daemon said, or what the system said of the way to it, on one line."""
    if isinstance(error, APIError) and error.explanation:
        return str(error.explanation).strip().replace("\n", " ")
    while inner := error.__cause__ or error.__context__:
        error = inner
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return said.strip().replace("\n", " ")


def _port_taken(error: Exception) -> bool:
    said = f"{_cause(error)} {error}".lower()
    return "port is already allocated" in said or "address already in use" in said
