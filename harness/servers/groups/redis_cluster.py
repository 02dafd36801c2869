"""Redis Cluster: three primaries that share the slots, and a replica of each.

Redis docs: "Redis cluster specification".
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace

from redis.crc import key_slot

from harness.backends import Backend
from harness.matrix import Cell
from harness.servers.groups.group import Group
from harness.servers.groups.members import MakeServer, Member
from harness.servers.groups.redis_member import (
    REPLICA,
    RedisMember,
    control,
    following,
    kept_away,
    linked,
    minding_replicas,
)
from harness.servers.groups.redis_nodes import Node, command, nodes_seen_by, state

PRIMARIES = ("primary1", "primary2", "primary3")
REPLICAS = ("replica1", "replica2", "replica3")
"""Of the members as they start; a failover changes who is what."""
SLOTS = 16384
MIGRATE_MS = 5000
KEYS = 1000
"""Moved in one round."""


class RedisCluster(Group):
    """`harness.servers.topology.Topology` of a Redis Cluster."""

    def __init__(self, cell: Cell, make: MakeServer) -> None:
        super().__init__(cell, make, [*PRIMARIES, *REPLICAS])
        addresses = ",".join(member.address for member in self._data())
        self.url = f"redis+cluster://:{self._places.password}@{addresses}/0"
        self._formed = False

    def start(self) -> None:
        self._start(self._data())
        if not self._formed:
            self._form()
            self._formed = True
        self._wait(self._out_of_step)
        for member in self._data():  # to their disks, which a node does not always do by itself
            command(member, "SAVECONFIG")

    def stop(self) -> None:
        self._members.stop(self._data())

    def kill(self) -> None:
        self._members.kill(self._data())

    def power_cut(self) -> None:
        self._members.cut_power(self._data())

    def primary_url(self) -> str:
        primaries = [self._at(node) for node in self._primaries()]
        return next(member.server.url for member in self._data() if member in primaries)

    def replica_urls(self) -> list[str]:
        replicas = [self._at(node) for node in self._nodes() if node.primary_id]
        return [member.server.url for member in replicas if member.up]

    def fail_over(self, key: bytes = b"") -> None:
        slot = key_slot(key)
        old = self._owner(slot)

        def fault() -> str:
            for member in self._up():
                served = [node.id for node in nodes_seen_by(member) if node.serves(slot)]
                if served in ([], [old.id]):
                    return f"to {member.name}, nobody has taken the place of {self._at(old).name}"
            return self._not_serving()

        replica = next(node for node in self._nodes() if node.primary_id == old.id)
        self._members.kill([self._at(old)])
        # An operator who knows that it is gone need not wait until the others believe it.
        command(self._at(replica), "FAILOVER", "FORCE")
        self._wait(fault)

    def heal(self) -> None:
        self.start()

    def split(self) -> AbstractContextManager[str]:
        raise NotImplementedError("matrix.toml says that a cluster lacks split_brain")

    @contextmanager
    def lagging(self) -> Iterator[None]:
        try:
            with ExitStack() as away:
                for primary in self._primaries():
                    away.enter_context(kept_away(self._at(primary), REPLICA))
                yield
        finally:
            self._wait(self._out_of_step)

    @contextmanager
    def requiring_replicas(self) -> Iterator[None]:
        with minding_replicas(self._up()):
            yield

    @contextmanager
    def move_slot(self, key: bytes) -> Iterator[None]:
        slot = key_slot(key)
        source = self._owner(slot)
        target = next(node for node in self._primaries() if node.id != source.id)
        command(self._at(target), "SETSLOT", slot, "IMPORTING", source.id)
        command(self._at(source), "SETSLOT", slot, "MIGRATING", target.id)
        try:
            self._move_keys(slot, source, target)
            yield
        finally:
            self._move_keys(slot, source, target)
            # The target first: it takes the slot with a new epoch, which the others believe.
            for node in (target, source):
                command(self._at(node), "SETSLOT", slot, "NODE", target.id)
            self._wait(lambda: self._not_moved(slot, target) or self._out_of_step())

    def _row(self, name: str) -> Cell:
        return replace(self._cell, id=f"{self._cell.id}-{name}")

    def _software(self, name: str) -> Backend:
        place = self._place_of[name]
        # The address that others are told, before anybody has connected and learnt it.
        return RedisMember(place, [*following(place.password), "cluster-announce-ip 127.0.0.1"])

    def _form(self) -> None:
        """Share the slots, let everybody meet, and give each primary its replica."""
        for number, name in enumerate(PRIMARIES):
            first, last = (SLOTS * n // len(PRIMARIES) for n in (number, number + 1))
            command(self._members[name], "ADDSLOTS", *range(first, last))
        everybody = self._data()
        for number, member in enumerate(everybody, 1):
            # Else all have the same one, and settle one by one who keeps it.
            command(member, "SET-CONFIG-EPOCH", number)
        for number, member in enumerate(everybody, 1):
            for other in everybody[number:]:
                command(member, "MEET", "127.0.0.1", other.place.port)
        self._wait(self._strangers)
        own = {member.place.port: node.id for member in everybody for node in self._self(member)}
        for replica, primary in zip(REPLICAS, PRIMARIES, strict=True):
            port = self._members[primary].place.port
            command(self._members[replica], "REPLICATE", own[port])

    def _self(self, member: Member) -> list[Node]:
        return [node for node in nodes_seen_by(member) if "myself" in node.flags]

    def _strangers(self) -> str:
        """Return who does not know all others yet."""
        for member in self._up():
            known = [node for node in nodes_seen_by(member) if not node.in_doubt]
            if len(known) < len(self._members):
                return f"{member.name} knows {len(known)} of {len(self._members)} members"
        return ""

    def _not_serving(self) -> str:
        """Return to whom the cluster is not whole."""
        for member in self._up():
            if state(member) != "ok":
                return f"the cluster is not ok to {member.name}"
        return ""

    def _out_of_step(self) -> str:
        """Return what is not as it was when the cluster was formed, whoever is what by now."""
        if found := self._strangers() or self._not_serving():
            return found
        views = {member.name: nodes_seen_by(member) for member in self._up()}
        pictures = {name: _picture(nodes) for name, nodes in views.items()}
        for name, picture in pictures.items():
            if picture != pictures[PRIMARIES[0]]:
                return f"{name} and {PRIMARIES[0]} know different primaries"
        for node in views[PRIMARIES[0]]:
            if node.primary_id and not linked(self._at(node)):
                return f"{self._at(node).name} has no link to its primary"
        return ""

    def _not_moved(self, slot: int, target: Node) -> str:
        for member in self._up():
            if not any(node.serves(slot) for node in nodes_seen_by(member) if node.id == target.id):
                return f"{member.name} does not know yet where slot {slot} is"
        return ""

    def _move_keys(self, slot: int, source: Node, target: Node) -> None:
        """Move what there is in a slot."""
        with control(self._at(source), text=False) as client:
            while keys := client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, KEYS):
                client.execute_command(
                    *("MIGRATE", "127.0.0.1", target.port, "", 0, MIGRATE_MS),
                    *("AUTH", self._places.password, "KEYS", *keys),
                )

    def _up(self) -> list[Member]:
        return [member for member in self._data() if member.up]

    def _nodes(self) -> list[Node]:
        return nodes_seen_by(self._up()[0])

    def _primaries(self) -> list[Node]:
        return [node for node in self._nodes() if node.owns and "fail" not in node.flags]

    def _owner(self, slot: int) -> Node:
        """Return who serves a slot while the cluster is whole."""
        return next(node for node in self._nodes() if node.serves(slot))

    def _at(self, node: Node) -> Member:
        return next(member for member in self._data() if member.place.port == node.port)


def _picture(nodes: list[Node]) -> set[tuple[str, str, int]]:
    """Return who is whose replica, and how many slots each serves."""
    return {(node.id, node.primary_id, node.owns) for node in nodes}
