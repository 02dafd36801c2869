"""Servers that are groups, in which one member can take another's place."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol, runtime_checkable
from urllib.parse import urlsplit

from harness.servers import Server


@runtime_checkable
class Topology(Server, Protocol):
    """A cell's server that is a group. The calls of `Server` act on all its members.

    What a topology does not have raises NotImplementedError; its row says that it lacks it.
    """

    def member_urls(self) -> Mapping[str, str]:
        """Return the URLs of the members that hold data, by name, whatever they do now."""

    def primary_url(self) -> str:
        """Return the URL of the member that takes writes now; in a cluster, of any of them."""

    def replica_urls(self) -> list[str]:
        """Return the URLs of the members that only answer reads now."""

    def fail_over(self, key: bytes = b"") -> None:
        """Kill the member that takes writes; return once another serves writes in its place.

        In a cluster that is the member that takes the key's.
        """

    def heal(self) -> None:
        """Bring back every member that is down or cut off; return once all are in step again."""

    def split(self) -> AbstractContextManager[str]:
        """Cut the primary off from its group, while clients still reach it, in the block.

        The block begins once the others have promoted another, with the URL of the old primary
        alone. At its end the old one rejoins, and what it alone was told is gone.
        """

    def lagging(self) -> AbstractContextManager[None]:
        """Keep the replicas from applying anything in the block, while they still answer reads."""

    def requiring_replicas(self) -> AbstractContextManager[None]:
        """Let the primary take writes only with a replica in reach, in the block."""

    def move_slot(self, key: bytes) -> AbstractContextManager[None]:
        """Move a key's slot to another primary: begun before the block, finished after it.

        In the block the slot still belongs to its old primary, which answers ASK for the keys
        that it has not: those that were there are moved, the new ones are created elsewhere.
        After the block it answers MOVED.
        """


def is_group(url: str) -> bool:
    """Tell whether the URL is of a group whose servers tell clients where to go."""
    return "+" in urlsplit(url).scheme


def primary_url(server: Server) -> str:
    """Return the URL of the one server that takes writes, in a group or alone."""
    return server.primary_url() if isinstance(server, Topology) else server.url
