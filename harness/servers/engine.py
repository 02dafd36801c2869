"""The Docker engine: which one, how to ask it, and where its containers are reached."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable
from contextlib import closing
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import docker
from docker.context import ContextAPI
from docker.context.config import get_current_context_name
from docker.errors import APIError, DockerException, ImageNotFound
from requests.exceptions import RequestException
from testcontainers.core.config import testcontainers_config

from harness.servers import POLL_SECONDS, NotRunError
from harness.servers.ownership import LABEL, is_gone
from harness.servers.tunnel import Tunnel, TunnelError

SOCKET = "unix:///var/run/docker.sock"
LOOPBACK, EVERYWHERE = "127.0.0.1", "0.0.0.0"  # noqa: S104 - see `published_on`
CREATE_SECONDS = 2.0
"""How long Docker may go on creating a container whose request was interrupted."""
NOT_FOUND, CONFLICT = 404, 409
"""A conflict is a removal that is under way."""


class ContextError(Exception):
    """There is no such docker context."""


FAULTS = (DockerException, RequestException, ContextError, TunnelError)


def where() -> str:
    """Return the engine's URL: as testcontainers or DOCKER_HOST have it, or the docker context.

    The context's goes into the environment, as docker's library knows of no contexts by itself.
    Raises ContextError.
    """
    if told := testcontainers_config.tc_properties_get_tc_host() or os.environ.get("DOCKER_HOST"):
        return told
    name = os.environ.get("DOCKER_CONTEXT") or get_current_context_name()
    if name == "default":
        return SOCKET
    context = ContextAPI.get_context(name)
    if context is None:
        raise ContextError(f"there is no docker context {name!r}")
    certificates = Path(context.tls_path, "docker")
    if certificates.is_dir():
        unchecked = context.endpoints["docker"]["SkipTLSVerify"]
        os.environ["DOCKER_CERT_PATH"] = str(certificates)
        os.environ["DOCKER_TLS_VERIFY"] = "" if unchecked else "1"
    os.environ["DOCKER_HOST"] = str(context.Host)
    return os.environ["DOCKER_HOST"]


def client(**options: Any) -> Any:
    """Return a client of the engine, to be closed. Raises one of `FAULTS`."""
    return docker.from_env(environment=environment(), **options)


def environment() -> dict[str, str]:
    """Return the environment in which docker and testcontainers find the engine."""
    address = where()
    if address.startswith("ssh://"):
        address = f"unix://{_tunnel().socket}"
    return {**os.environ, "DOCKER_HOST": address}


def reach(port: int) -> int:
    """Return the port of `host` at which one of a container will be. Raises one of `FAULTS`."""
    return _tunnel().forward(port) if where().startswith("ssh://") else port


def is_here() -> bool:
    """Tell whether the engine is on this machine, so that its processes and files are, too."""
    return where().startswith("unix://")


def host() -> str:
    """Return the host at which the ports of containers are reached.

    TESTCONTAINERS_HOST_OVERRIDE names it where it is not the one that the engine is told to be at.
    """
    there = None if where().startswith("ssh://") else urlsplit(where()).hostname
    named = testcontainers_config.tc_host_override or there
    return LOOPBACK if named in {None, "localhost", "::1"} else str(named)


def published_on() -> str:
    """Return the address of the engine's host on which the ports of containers are open.

    Loopback where that is in reach. An engine elsewhere has no address that only we could use.
    """
    return LOOPBACK if host() == LOOPBACK else EVERYWHERE


@cache
def _tunnel() -> Tunnel:
    """Return the way to the engine: one, though testcontainers later drops the URL's path."""
    return Tunnel(where())


@cache
def daemon_fault() -> str | None:
    """Return why no Docker daemon answers, or None if one does."""
    address = "docker"
    try:
        address = where()
        if address.startswith("unix://"):  # docker leaves a socket open that cannot connect
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(address.removeprefix("unix://"))
        with closing(client(timeout=5)) as asked:
            asked.ping()
    except (OSError, *FAULTS) as error:
        return f"{address}: {cause(error)}"
    return None


@cache
def host_network_fault() -> str | None:
    """Return why containers in the network of Docker's host are not in reach, None if they are.

    Servers of one cell go there where they can; members of a group must.
    """
    said = "members of a group share the network of Docker's host, "
    if sys.platform != "linux":
        return f"{said}which is ours on Linux only"
    if not is_here():
        return f"{said}which may not be ours where the engine is {where()}"
    with closing(client()) as asked:
        about = asked.info()
    if about["Name"] != socket.gethostname():  # a virtual machine's, or around our container
        return f"{said}which is {about['Name']}, not {socket.gethostname()}"
    if any("rootless" in option for option in about["SecurityOptions"]):
        return f"{said}which a daemon without root keeps to itself"
    return None


def sweep() -> list[str]:
    """Remove containers, with their volumes, whose owner is gone; return their names."""
    gone = []
    with closing(client()) as asked:
        # One request: asking for each container fails where another run removes it meanwhile.
        for container in asked.api.containers(all=True, filters={"label": LABEL}):
            if is_gone(container["Labels"][LABEL]):
                remove = partial(asked.api.remove_container, container["Id"], force=True, v=True)
                if removed(remove):
                    gone.append(container["Names"][0].lstrip("/"))
    return gone


def remove_unfinished(name: str) -> None:
    """Remove a container whose creation was interrupted: Docker may still be at it."""
    deadline = time.monotonic() + CREATE_SECONDS
    with closing(client()) as asked:
        remove = partial(asked.api.remove_container, name, force=True, v=True)
        while not removed(remove) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)


def removed(remove: Callable[[], object]) -> bool:
    """Remove a container; tell whether it was there, or somebody else (a sweep) was faster."""
    try:
        remove()
    except APIError as error:
        if error.status_code in {NOT_FOUND, CONFLICT}:
            return False
        raise
    return True


def digest(reference: str) -> str:
    """Return the image's digest, pulling it where it is not here."""
    with closing(client()) as asked:
        try:
            try:
                image = asked.images.get(reference)
            except ImageNotFound:
                image = asked.images.pull(reference)
            return str((image.attrs.get("RepoDigests") or [image.id])[0])
        except FAULTS as error:
            raise NotRunError(
                f"the image {reference} is not here and cannot be pulled ({cause(error)}); "
                "MATRIX_REGISTRY names a mirror, --provider embedded needs no image"
            ) from error


def cause(error: BaseException) -> str:
    """Return what the daemon said, or what the system said of the way to it, on one line."""
    if isinstance(error, APIError) and error.explanation:
        return str(error.explanation).strip().replace("\n", " ")
    while inner := error.__cause__ or error.__context__:
        error = inner
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return said.strip().replace("\n", " ")


def port_taken(error: Exception) -> bool:
    said = f"{cause(error)} {error}".lower()
    signs = ("port is already allocated", "address already in use", "port forwarding failed")
    return any(sign in said for sign in signs)
