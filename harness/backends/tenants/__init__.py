"""Being a tenant of a server that somebody prepared: what is read first, and what is ours there."""

from __future__ import annotations

from typing import Protocol

MARKER = "memory_matrix_disposable"
"""What a server carries whose owner says that its data may be lost: a Redis key, or the comment
on a Postgres database."""
PORTS = {
    "redis": {"redis": 6379, "rediss": 6379},
    "postgres": {"postgresql": 5432, "postgres": 5432},
}
"""By backend, the schemes of its URLs, each with the port of those that name none."""


class TenantError(Exception):
    """The server refused what a tenant needs. The text is what it said, on one line."""


class Tenant(Protocol):
    """One tenant of one server, by its URL. Every call may raise TenantError."""

    def marked(self) -> bool:
        """Tell whether the server carries the marker. Writes nothing."""

    def mark(self) -> None:
        """Let the server carry the marker: only for servers that we started ourselves."""

    def marking(self) -> str:
        """Return the command by which the server's owner marks it, without a password."""

    def unfit(self) -> str | None:
        """Return why contracts could not run there, None if they could. Writes nothing."""

    def encrypted(self) -> bool:
        """Tell whether the connection is encrypted."""

    def move_in(self) -> str:
        """Make what is to be this tenant's alone, and return its URL."""

    def move_out(self) -> None:
        """Delete what `move_in` made. Doing so twice is fine."""


def tenant(backend: str, url: str) -> Tenant:
    """Return a tenant of a server of this backend. Connects to nothing yet."""
    if backend == "redis":
        from harness.backends.tenants.redis import RedisTenant  # noqa: PLC0415 - its driver only

        return RedisTenant(url)
    from harness.backends.tenants.postgres import PostgresTenant  # noqa: PLC0415 - the same

    return PostgresTenant(url)
