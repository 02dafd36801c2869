"""Groups of servers, by the topology of their row."""

from __future__ import annotations

from harness.matrix import Cell
from harness.servers.groups.members import MakeServer
from harness.servers.topology import Topology


def group_of(cell: Cell, make: MakeServer) -> Topology:
    """Return the group of servers that a row describes, not started yet. Raises NotRunError."""
    if cell.topology == "sentinel":
        from harness.servers.groups.redis_sentinel import RedisSentinel  # noqa: PLC0415 - one

        return RedisSentinel(cell, make)
    if cell.topology == "cluster":
        from harness.servers.groups.redis_cluster import RedisCluster  # noqa: PLC0415 - of them

        return RedisCluster(cell, make)
    from harness.servers.groups.postgres_replica import PostgresReplica  # noqa: PLC0415

    return PostgresReplica(cell, make)
