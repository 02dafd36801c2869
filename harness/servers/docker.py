"""Servers in containers, through testcontainers: the authority."""

from __future__ import annotations

import os
import secrets
from functools import cache
from typing import Any, cast

# Our own label sweep does Ryuk's work without needing its image.
os.environ["TESTCONTAINERS_RYUK_DISABLED"] = "true"

import docker
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.waiting_utils import WaitStrategy, WaitStrategyTarget

from harness.backends import Backend
from harness.matrix import Cell
from harness.servers import NotRunError, StartError, free_port, wait_until_serving
from harness.servers.ownership import LABEL, is_gone, owner

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

    def __init__(self, cell: Cell, backend: Backend, registry: str) -> None:
        self._cell = cell
        self._backend = backend
        self._reference = cell.image.reference(registry)
        self._password = secrets.token_urlsafe(16)
        self._container: DockerContainer | None = None
        self.image_digest: str | None = None
        self.url = ""

    def start(self) -> None:
        if self._container is None:
            self._create()
        else:
            self._wrapped().start()
            self.wait(self._container)

    def stop(self) -> None:
        self._wrapped().stop(timeout=10)

    def kill(self) -> None:
        self._wrapped().kill()

    def remove(self) -> None:
        if self._container is not None:
            container, self._container = self._container, None
            container.stop()

    def logs(self) -> str:
        return self._wrapped().logs().decode(errors="replace") if self._container else ""

    def wait(self, container: Any) -> None:
        """Return once the server serves; raise StartError where it does not."""
        wrapped = container.get_wrapped_container()

        def alive() -> bool:
            wrapped.reload()
            return str(wrapped.status) == "running"

        wait_until_serving(
            self._cell.id,
            lambda: self._backend.check(self.url),
            alive,
            lambda: wrapped.logs().decode(errors="replace"),
        )

    def _create(self) -> None:
        self.image_digest = _digest(self._reference)
        for attempt in range(PORT_ATTEMPTS):
            port = free_port()
            self.url = self._backend.url("127.0.0.1", port, self._password)
            self._container = self._described(port)
            try:
                self._container.start()
            except APIError as error:
                self.remove()
                if _port_taken(error) and attempt + 1 < PORT_ATTEMPTS:
                    continue  # another process took the port first
                raise StartError(f"{self._cell.id}: Docker refused: {error.explanation}") from error
            except BaseException:
                self.remove()
                raise
            return

    def _described(self, port: int) -> DockerContainer:
        container = DockerContainer(self._reference)
        container.with_command(
            self._backend.container_arguments(self._cell.settings, self._password)
        )
        container.with_envs(**self._backend.container_environment(self._password))
        container.with_kwargs(labels={LABEL: owner()})
        container.ports = cast("dict[str, int | None]", {self._backend.port: ("127.0.0.1", port)})
        return container.waiting_for(Serving(self))

    def _wrapped(self) -> Any:
        if self._container is None:
            raise StartError(f"{self._cell.id}: there is no container")
        return self._container.get_wrapped_container()


@cache
def daemon_fault() -> str | None:
    """Return why no Docker daemon answers, or None if one does."""
    try:
        client = docker.from_env(timeout=5)
        try:
            client.ping()
        finally:
            client.close()
    except DockerException as error:
        return str(error).splitlines()[0]
    return None


def sweep() -> list[str]:
    """Remove containers, with their volumes, whose owner is gone; return their names."""
    client = docker.from_env()
    removed = []
    try:
        for container in client.containers.list(all=True, filters={"label": LABEL}):
            if is_gone(container.labels[LABEL]):
                try:
                    container.remove(force=True, v=True)
                except NotFound:
                    continue  # another sweep was faster
                removed.append(container.name)
    finally:
        client.close()
    return removed


def _digest(reference: str) -> str:
    """Return the image's digest, pulling it where it is not here."""
    client = docker.from_env()
    try:
        try:
            image = client.images.get(reference)
        except ImageNotFound:
            image = client.images.pull(reference)
        return str((image.attrs.get("RepoDigests") or [image.id])[0])
    except DockerException as error:
        raise NotRunError(
            f"the image {reference} is not here and cannot be pulled ({_first_line(error)}); "
            "MATRIX_REGISTRY names a mirror, --provider embedded needs no image"
        ) from error
    finally:
        client.close()


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


def _port_taken(error: APIError) -> bool:
    said = str(error.explanation)
    return "port is already allocated" in said or "address already in use" in said
