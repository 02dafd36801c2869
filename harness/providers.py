"""Choosing who provides a cell's server."""

from __future__ import annotations

from harness.backends import Backend
from harness.matrix import Cell
from harness.servers import Copyable, NotRunError, Server, directories

PROVIDERS = ("auto", "docker", "embedded")


def provide(cell: Cell, backend: Backend, provider: str, registry: str) -> Server:
    """Return the cell's server, not started yet. Raises NotRunError where it cannot be had."""
    directories.sweep()
    if cell.image.fake:
        from harness.servers.fake import FakeServer  # noqa: PLC0415 - the fast lane's only

        return FakeServer(cell, backend)
    if provider == "embedded":
        return _embedded(cell, backend)
    from harness.servers.docker import DockerServer, daemon_fault, sweep  # noqa: PLC0415 - slow

    fault = daemon_fault()
    if fault is None:
        sweep()
        return DockerServer(cell, backend, registry)
    if provider == "docker":
        raise NotRunError(f"no Docker daemon answers ({fault})")
    try:
        return _embedded(cell, backend)
    except NotRunError as error:
        raise NotRunError(f"{error}, and no Docker daemon answers ({fault})") from error


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

    return EmbeddedServer(cell, backend)
