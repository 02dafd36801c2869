"""Postgres with a streaming standby, which an operator promotes when the primary is gone.

Postgres docs: "Log-Shipping Standby Servers", "Failover".
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any, LiteralString

import psycopg

from harness.backends import Backend
from harness.backends.postgres import USER, PostgresBackend
from harness.matrix import Cell
from harness.servers.groups.group import Group
from harness.servers.groups.members import MakeServer, Member
from harness.servers.groups.postgres_standby import PostgresStandby

NAMES = ("primary", "standby")
"""Of the members as they start; a failover changes who is what."""
PROMOTE_SECONDS = 10


class PostgresReplica(Group):
    """`harness.servers.topology.Topology` of a Postgres primary and its standby."""

    def __init__(self, cell: Cell, make: MakeServer) -> None:
        super().__init__(cell, make, NAMES)
        hosts = ",".join(member.address for member in self._data())
        self.url = (
            f"postgresql://{USER}:{self._places.password}@{hosts}/{USER}"
            "?target_session_attrs=read-write"
        )
        self._primary, self._standby = self._data()
        self._left_behind = False
        """Whether the standby was the primary, and begins anew as a copy when it starts."""

    def start(self) -> None:
        self._start([self._primary])
        if self._left_behind:
            self._rebuild()
        self._start([self._standby])
        self._wait(self._out_of_step)

    def stop(self) -> None:
        self._members.stop([self._primary])  # which waits until the standby has all
        self._members.stop([self._standby])

    def kill(self) -> None:
        self._members.kill(self._data())

    def power_cut(self) -> None:
        self._members.cut_power(self._data())

    def primary_url(self) -> str:
        return self._primary.server.url

    def replica_urls(self) -> list[str]:
        return [self._standby.server.url] if self._standby.up else []

    def fail_over(self, key: bytes = b"") -> None:
        self._members.kill([self._primary])
        self._promote()

    def heal(self) -> None:
        self.start()

    def split(self) -> AbstractContextManager[str]:
        raise NotImplementedError("matrix.toml says that Postgres lacks split_brain")

    @contextmanager
    def lagging(self) -> Iterator[None]:
        standby = self._standby
        try:
            _ask(standby, "SELECT pg_wal_replay_pause()")
            self._wait(self._replaying)
            yield
        finally:
            if standby is self._standby and standby.up:
                _ask(standby, "SELECT pg_wal_replay_resume()")
                self._wait(self._out_of_step)

    def requiring_replicas(self) -> AbstractContextManager[None]:
        raise NotImplementedError("matrix.toml says that Postgres lacks split_brain")

    def move_slot(self, key: bytes) -> AbstractContextManager[None]:
        raise NotImplementedError("matrix.toml says that Postgres lacks resharding")

    def _row(self, name: str) -> Cell:
        return replace(self._cell, id=f"{self._cell.id}-{name}")

    def _software(self, name: str) -> Backend:
        return PostgresBackend() if name == NAMES[0] else PostgresStandby(self._place_of[NAMES[0]])

    def _data(self) -> list[Member]:
        return [self._members[name] for name in NAMES]

    def _promote(self) -> None:
        """Let the standby take writes; the other one must become its copy before it follows it."""
        _ask(self._standby, "SELECT pg_promote(true, %s)", PROMOTE_SECONDS)
        self._primary, self._standby = self._standby, self._primary
        self._left_behind = True

    def _rebuild(self) -> None:
        """Let the standby begin anew as a copy of the primary."""
        old = self._standby
        old.end()
        software = PostgresStandby(self._primary.place)
        old.server = self._make(self._row(old.name), software, old.place)
        self._left_behind = False

    def _out_of_step(self) -> str:
        """Return what the standby lacks of being the primary's equal."""
        (written,) = _ask(self._primary, "SELECT pg_current_wal_lsn()")
        connected = _ask(
            self._primary, "SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'"
        )
        if not connected:
            return "the standby does not stream from the primary"
        (applied,) = _ask(
            self._standby, "SELECT coalesce(pg_last_wal_replay_lsn() >= %s, false)", written
        )
        return "" if applied else "the standby has not applied all"

    def _replaying(self) -> str:
        (state,) = _ask(self._standby, "SELECT pg_get_wal_replay_pause_state()")
        return "" if state == "paused" else f"the standby's replay is {state}"


def _ask(member: Member, query: LiteralString, *parameters: object) -> tuple[Any, ...]:
    """Return the first row, empty if there is none."""
    with psycopg.connect(member.server.url, autocommit=True, connect_timeout=10) as connection:
        return connection.execute(query, parameters).fetchone() or ()
