"""Choosing who provides a cell's server."""

from __future__ import annotations

from typing import cast

from harness.backends import Backend
from harness.matrix import STANDALONE, Cell
from harness.servers import Copyable, NotRunError, Server, directories
from harness.servers.groups.members import MakeServer
from harness.servers.places import Place

PROVIDERS = ("auto", "docker", "embedded", "external")


def provide(cell: Cell, backend: Backend, provider: str, registry: str) -> Server:
    """Return the cell's server, not started yet. Raises NotRunError where it cannot be had.

    Where the row has a topology, it is a `harness.servers.topology.Topology`.
    """
    directories.sweep()
    if provider == "external":
        from harness.servers.external import ExternalServer  # noqa: PLC0415 - only if chosen

        return ExternalServer(cell, backend)
    if cell.backend == "mock":
        from harness.mocked.server import MockServer  # noqa: PLC0415 - the mock lane's only

        return cast(Server, MockServer())
    if cell.image.fake:
        from harness.servers.fake import FakeServer  # noqa: PLC0415 - the fast lane's only

        return FakeServer(cell, backend)
    if provider == "embedded":
        return _embedded(cell, backend)
    from harness.servers.engine import daemon_fault, sweep  # noqa: PLC0415 - slow

    fault = daemon_fault()
    if fault is None:
        sweep()
        return _in_containers(cell, backend, registry)
    if provider == "docker":
        raise NotRunError(f"no Docker daemon answers ({fault})")
    try:
        return _embedded(cell, backend)
    except NotRunError as error:
        raise NotRunError(f"{error}, and no Docker daemon answers ({fault})") from error


def _in_containers(cell: Cell, backend: Backend, registry: str) -> Server:
    from harness.servers.docker import DockerServer  # noqa: PLC0415 - slow
    from harness.servers.engine import host_network_fault  # noqa: PLC0415 - slow

    if cell.topology == STANDALONE:
        return DockerServer(cell, backend, registry)
    if fault := host_network_fault():
        raise NotRunError(fault)

    def make(cell: Cell, backend: Backend, place: Place) -> Server:
        return DockerServer(cell, backend, registry, place)

    return _group(cell, make)


def provide_copyable(cell: Cell, backend: Backend, like: Server, registry: str) -> Copyable:
    """Return another server, not started, from the provider of one that there is.

    Raises NotRunError where its data could not be copied.
    """
    reason = like.cannot("changes")
    if reason:
        raise NotRunError(reason)
    if like.provider == "docker":
        from harness.servers.docker import DockerServer  # noqa: PLC0415 - slow

        return DockerServer(cell, backend, registry)
    from harness.servers.embedded import EmbeddedServer  # noqa: PLC0415 - only if chosen

    return EmbeddedServer(cell, backend)


def _embedded(cell: Cell, backend: Backend) -> Server:
    from harness.servers.embedded import EmbeddedServer  # noqa: PLC0415 - only if chosen

    if cell.topology == STANDALONE:
        return EmbeddedServer(cell, backend)
    return _group(cell, EmbeddedServer)


def _group(cell: Cell, make: MakeServer) -> Server:
    from harness.servers.groups import group_of  # noqa: PLC0415 - only if chosen

    return group_of(cell, make)
