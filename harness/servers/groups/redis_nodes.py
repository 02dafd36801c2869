"""A Redis Cluster as one of its nodes sees it: CLUSTER NODES (Redis docs, "CLUSTER NODES")."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.servers.groups.members import Member
from harness.servers.groups.redis_member import control

NOBODY = "-"


@dataclass(frozen=True, slots=True)
class Node:
    """One node in the eyes of another. ``primary_id`` is empty for a primary."""

    id: str
    port: int
    flags: frozenset[str]
    primary_id: str
    epoch: int
    linked: bool
    slots: tuple[range, ...]

    @property
    def owns(self) -> int:
        """How many slots it serves."""
        return sum(map(len, self.slots))

    def serves(self, slot: int) -> bool:
        """Tell whether it serves a slot."""
        return any(slot in part for part in self.slots)

    @property
    def in_doubt(self) -> bool:
        """Whether the other does not know it well, or takes it for dead."""
        doubts = {"fail", "fail?", "handshake", "noaddr"}
        return not self.linked or bool(doubts & self.flags)


def nodes_seen_by(member: Member) -> list[Node]:
    """Return all nodes that a member knows, itself included."""
    with control(member) as client:
        text: str = client.execute_command("CLUSTER", "NODES")
    return [_node(line.split()) for line in text.splitlines()]


def command(member: Member, *words: str | int) -> None:
    """Give a member a CLUSTER command."""
    with control(member) as client:
        client.execute_command("CLUSTER", *words)


def state(member: Member) -> str:
    """Return whether the cluster is ``ok`` or ``fail`` to a member."""
    with control(member) as client:
        text: str = client.execute_command("CLUSTER", "INFO")
    return dict(line.split(":") for line in text.split())["cluster_state"]


def _node(fields: Sequence[str]) -> Node:
    node_id, address, flags, primary_id, _sent, _received, epoch, link, *slots = fields
    port = address.partition("@")[0].rpartition(":")[2]
    return Node(
        id=node_id,
        port=int(port),
        flags=frozenset(flags.split(",")),
        primary_id="" if primary_id == NOBODY else primary_id,
        epoch=int(epoch),
        linked=link == "connected",
        slots=tuple(_range(text) for text in slots if not text.startswith("[")),
    )


def _range(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)
