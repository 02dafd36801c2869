"""Servers in containers, through testcontainers: the authority."""

from __future__ import annotations

import io
import os
import secrets
import tarfile
from pathlib import Path
from typing import Any, cast

# Our own label sweep does Ryuk's work without needing its image.
os.environ["TESTCONTAINERS_RYUK_DISABLED"] = "true"

from docker.errors import APIError
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
    ProgramError,
    StartError,
    engine,
    free_port,
    wait_until_serving,
)
from harness.servers.directories import delete, private_directory
from harness.servers.engine import CONFLICT, FAULTS, LOOPBACK, cause, host_network_fault, removed
from harness.servers.ownership import LABEL, owner
from harness.servers.places import Place

# Registries are swapped by matrix.toml and MATRIX_REGISTRY; this prefix mangles names.
testcontainers_config.hub_image_name_prefix = ""

PORT_ATTEMPTS = 5


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
            raise StartError(f"{self._cell.id}: Docker refused: {cause(error)}") from error

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
            return None if engine.is_here() else "a remote Docker engine's processes are not here"
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
            environment=self._backend.login(LOOPBACK, self._inner_port, self._password),
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
            removed(container.stop)

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
        self.image_digest = engine.digest(self._reference)
        if self._no_disk() is None:
            self._directory = private_directory()
            self.disk = Disk(self._directory, origin=self._origin.disk if self._origin else None)
        for attempt in range(PORT_ATTEMPTS):
            port = self._place.port if self._place else free_port()
            try:
                self.url = self._backend.url(engine.host(), engine.reach(port), self._password)
                self._container = self._described(port)
                self._container.start()
            except (StartError, *FAULTS) as error:
                self._remove_container()
                if engine.port_taken(error) and attempt + 1 < PORT_ATTEMPTS and not self._place:
                    continue  # another process took the port first
                if isinstance(error, StartError):
                    raise
                raise StartError(f"{self._cell.id}: Docker refused: {cause(error)}") from error
            except BaseException:
                self.remove()
                engine.remove_unfinished(self._name)
                raise
            return

    def _described(self, port: int) -> DockerContainer:
        told = {"environment": engine.environment()}
        container = DockerContainer(self._reference, docker_client_kw=told).with_name(self._name)
        on_host, settings = host_network_fault() is None, self._cell.settings
        if on_host:
            settings = {**self._backend.listening(port), **settings}
            self._inner_port = port
        container.with_command(self._backend.container_arguments(settings, self._password))
        container.with_envs(**self._backend.container_environment(self._password))
        container.with_envs(**self._backend.quick_login(self._password))
        options: dict[str, Any] = {"labels": {LABEL: owner()}}
        if self.disk is not None:
            container.with_volume_mapping(str(self.disk.mount_point), self._backend.data, "rw")
        if on_host:
            # No proxy between, which costs more than the server itself; and members of a group
            # give clients each other's addresses.
            options["network_mode"] = "host"
        else:
            ports = {self._backend.port: (engine.published_on(), port)}
            container.ports = cast("dict[str, int | None]", ports)
        container.with_kwargs(**options)
        return container.waiting_for(Serving(self))

    def _no_disk(self) -> str | None:
        if lacking := self._cell.lacks.get("power_cut"):
            return lacking
        if engine.is_here():
            return disk_fault()
        return "the power of a remote Docker engine's disks cannot be cut from here"

    def _wrapped(self) -> Any:
        if self._container is None:
            raise StartError(f"{self._cell.id}: there is no container")
        return self._container.get_wrapped_container()
