"""Redis with Sentinel: a primary, two replicas, and three sentinels that promote one of them.

Redis docs: "High availability with Redis Sentinel".
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

from harness.backends import Backend
from harness.matrix import Cell
from harness.servers.groups.group import Group
from harness.servers.groups.members import MakeServer, Member
from harness.servers.groups.redis_member import (
    REPLICA,
    SENTINEL,
    RedisMember,
    control,
    follow,
    following,
    follows,
    kept_away,
    minding_replicas,
    out_of_step,
)

SERVICE = "memory"
"""The name under which the sentinels know the primary."""
DATA = ("primary", "replica1", "replica2")
"""Of the members as they start; a failover changes who is what."""
SENTINELS = ("sentinel1", "sentinel2", "sentinel3")
QUORUM = 2
DOWN_MS = 30_000
"""Silence after which a sentinel takes a server for dead. A busy machine keeps it for seconds."""
FAILOVER_MS = 2000
AWAY = {"disconnected", "s_down", "o_down"}
"""What a sentinel says of those that it does not reach."""


class RedisSentinel(Group):
    """`harness.servers.topology.Topology` of Redis with Sentinel."""

    def __init__(self, cell: Cell, make: MakeServer) -> None:
        self._ids = {name: secrets.token_hex(20) for name in SENTINELS}
        super().__init__(cell, make, [*DATA, *SENTINELS])
        addresses = ",".join(member.address for member in self._sentinels())
        self.url = f"redis+sentinel://:{self._places.password}@{addresses}/{SERVICE}/0"
        self._primary = self._members[DATA[0]]

    def start(self) -> None:
        self._start([self._primary])
        self._start(self._data())
        self._bring_in_step()
        self._start(self._sentinels())
        self._find_primary()  # they may have decided something that they only now can do
        self._bring_in_step()
        self._wait(self._disputed)

    def stop(self) -> None:
        self._find_primary()
        self._members.kill(self._sentinels())  # before they see the end of what they watch
        self._members.stop(self._data())

    def kill(self) -> None:
        self._find_primary()
        self._members.kill(self._members.values())

    def power_cut(self) -> None:
        self._find_primary()
        self._members.kill(self._sentinels())
        self._members.cut_power(self._data())

    def primary_url(self) -> str:
        self._find_primary()
        return self._primary.server.url

    def replica_urls(self) -> list[str]:
        self._find_primary()
        return [member.server.url for member in self._replicas() if member.up]

    def fail_over(self, key: bytes = b"") -> None:
        self._find_primary()
        self._wait(self._unaware)
        self._members.kill([self._primary])
        self._replace_primary()

    def heal(self) -> None:
        self._find_primary()
        self.start()

    @contextmanager
    def split(self) -> Iterator[str]:
        self._find_primary()
        self._wait(self._unaware)
        old = self._primary
        try:
            with kept_away(old, REPLICA, SENTINEL):
                self._replace_primary()
                yield old.server.url
        finally:
            self.heal()

    @contextmanager
    def lagging(self) -> Iterator[None]:
        self._find_primary()
        try:
            with kept_away(self._primary, REPLICA):
                yield
        finally:
            self._bring_in_step()

    @contextmanager
    def requiring_replicas(self) -> Iterator[None]:
        with minding_replicas([member for member in self._data() if member.up]):
            yield

    def move_slot(self, key: bytes) -> AbstractContextManager[None]:
        raise NotImplementedError("matrix.toml says that Sentinel lacks resharding")

    def _row(self, name: str) -> Cell:
        if name in DATA:
            return replace(self._cell, id=f"{self._cell.id}-{name}")
        no_data = {**self._cell.lacks, "power_cut": "a sentinel holds no data"}
        return replace(self._cell, id=f"{self._cell.id}-{name}", settings={}, lacks=no_data)

    def _software(self, name: str) -> Backend:
        place = self._place_of[name]
        if name in SENTINELS:
            return RedisMember(place, self._monitoring(name), sentinel=True)
        lines = following(place.password)
        if name != DATA[0]:
            lines.append(f"replicaof 127.0.0.1 {self._place_of[DATA[0]].port}")
        return RedisMember(place, lines)

    def _monitoring(self, name: str) -> list[str]:
        """Return what a sentinel is told of the others: finding them takes it seconds."""
        primary, *replicas = (self._place_of[one].port for one in DATA)
        lines = [
            f"sentinel myid {self._ids[name]}",
            f"sentinel monitor {SERVICE} 127.0.0.1 {primary} {QUORUM}",
            f"sentinel auth-user {SERVICE} {SENTINEL}",
            f"sentinel auth-pass {SERVICE} {self._places.password}",
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_MS}",
            f"sentinel failover-timeout {SERVICE} {FAILOVER_MS}",
            f"sentinel parallel-syncs {SERVICE} {len(replicas)}",
        ]
        lines += [f"sentinel known-replica {SERVICE} 127.0.0.1 {port}" for port in replicas]
        for other, its_id in self._ids.items():
            if other != name:
                port = self._place_of[other].port
                lines.append(f"sentinel known-sentinel {SERVICE} 127.0.0.1 {port} {its_id}")
        return lines

    def _data(self) -> list[Member]:
        return [self._members[name] for name in DATA]

    def _sentinels(self) -> list[Member]:
        return [self._members[name] for name in SENTINELS]

    def _replicas(self) -> list[Member]:
        return [member for member in self._data() if member is not self._primary]

    def _find_primary(self) -> None:
        """Ask the sentinels who the primary is; the latest decision counts."""
        told = [self._told_by(sentinel) for sentinel in self._sentinels() if sentinel.up]
        if told:
            _, port = max(told)
            self._primary = next(one for one in self._data() if one.place.port == port)

    def _told_by(self, sentinel: Member) -> tuple[int, int]:
        """Return the number of a sentinel's latest decision, and the primary's port."""
        with control(sentinel) as client:
            epoch = _state(_ask(client, "MASTER"))["config-epoch"]
            # Who leads a failover tells the new primary here before it knows it otherwise.
            _, port = _ask(client, "GET-MASTER-ADDR-BY-NAME")
        return int(epoch), int(port)

    def _replace_primary(self) -> None:
        """Let the sentinels promote another; return once it is the primary to all of them.

        An operator who knows that the primary is gone need not wait until they believe it. The
        last leads: it is the last to call the old one dead, where clients ask it so.
        """
        old = self._primary
        with control(self._sentinels()[-1]) as client:
            _ask(client, "FAILOVER")

        def fault() -> str:
            self._find_primary()
            if self._primary is old:
                return f"nobody has taken the place of {old.name}"
            return self._disputed()

        self._wait(fault)

    def _bring_in_step(self) -> None:
        """Let all replicas follow the primary; return once they do."""
        for replica in self._replicas():
            if not follows(replica, self._primary):
                follow(replica, self._primary)
        self._wait(lambda: out_of_step(self._primary, self._replicas()))

    def _disputed(self) -> str:
        """Return which sentinel takes another member for the primary."""
        for sentinel in self._sentinels():
            _, port = self._told_by(sentinel)
            if port != self._primary.place.port:
                return f"{sentinel.name} takes 127.0.0.1:{port} for the primary"
        with control(self._primary) as client:
            return "" if client.role()[0] == "master" else f"{self._primary.name} is no primary"

    def _unaware(self) -> str:
        """Return which sentinel does not see all others yet, and so could not replace anybody."""
        if found := self._disputed():
            return found
        ports = {replica.place.port for replica in self._replicas()}
        for sentinel in self._sentinels():
            with control(sentinel) as client:
                primary = _state(_ask(client, "MASTER"))
                others = [_state(one) for one in _ask(client, "SENTINELS")]
                replicas = [_state(one) for one in _ask(client, "REPLICAS")]
            for one in [primary, *others, *replicas]:
                if AWAY & set(one["flags"].split(",")):
                    return f"{sentinel.name} does not reach 127.0.0.1:{one['port']}"
            if len(others) != len(SENTINELS) - 1 or {int(one["port"]) for one in replicas} != ports:
                return f"{sentinel.name} does not know all members"
        return ""


def _ask(client: Any, what: str) -> Any:
    """Return a sentinel's raw answer: some releases of redis-py 6 and 7 stumble over their own."""
    return client.execute_command("SENTINEL", what, SERVICE)


def _state(answer: list[str]) -> dict[str, str]:
    """Return what a sentinel knows of a server, by name."""
    return dict(zip(answer[::2], answer[1::2], strict=True))
