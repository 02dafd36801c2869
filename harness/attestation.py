"""Is the server what its row says? Reads version, image and configuration back, and compares."""

from __future__ import annotations

from dataclasses import dataclass

from harness.backends import Backend, version_matches
from harness.matrix import Cell
from harness.servers import Server
from harness.servers.topology import Topology


class AttestationError(Exception):
    """The server is not what its row in matrix.toml says. The text lists every difference."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a server said of itself."""

    provider: str
    version: str
    image_digest: str | None
    settings: dict[str, str]


def attest(cell: Cell, backend: Backend, server: Server) -> Facts:
    """Return the server's facts. Raises AttestationError where they are not the row's.

    In a group every member must be what the row says.
    """
    if cell.image.fake:
        return Facts(server.provider, cell.image.version, None, {})
    if not isinstance(server, Topology):
        return _attested(cell, backend, server, cell.id, server.url)
    of_members = [
        _attested(cell, backend, server, f"{cell.id}, {name}", url)
        for name, url in server.member_urls().items()
    ]
    return of_members[0]


def _attested(cell: Cell, backend: Backend, server: Server, name: str, url: str) -> Facts:
    facts = Facts(
        provider=server.provider,
        version=backend.version(url),
        image_digest=server.image_digest,
        settings=backend.effective(url, cell.settings),
    )
    differences = _differences(cell, backend, facts)
    if differences:
        raise AttestationError(
            f"{name}: the server is not what its row in matrix.toml says: " + "; ".join(differences)
        )
    return facts


def _differences(cell: Cell, backend: Backend, facts: Facts) -> list[str]:
    found = []
    if not version_matches(facts.version, cell.image.version):
        found.append(f"version is {facts.version}, not {cell.image.version}")
    wanted = cell.image.digest
    if wanted and facts.image_digest and not facts.image_digest.endswith(wanted):
        found.append(f"image digest is {facts.image_digest}, not {wanted}")
    for name, value in cell.settings.items():
        effective = facts.settings.get(name)
        if effective != backend.normal(name, value):
            found.append(f"{name} is {effective!r}, not {value!r}")
    return found
