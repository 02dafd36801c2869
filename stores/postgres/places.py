"""How far a server's data goes: its place in the write-ahead log, and asking for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from stores.postgres.statements import Row, Statement

PAGE_HEADER, SEGMENT_HEADER = 24, 40
"""Bytes before the first record of a page of the log, and of a segment's first page."""

PLACE = Statement(
    b"""SELECT pg_is_in_recovery(),
  (pg_control_system()).system_identifier,
  CASE WHEN pg_is_in_recovery()
    THEN greatest((pg_control_checkpoint()).timeline_id,
                  (pg_control_recovery()).min_recovery_end_timeline,
                  (pg_stat_get_wal_receiver()).received_tli)
    ELSE ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int END,
  (CASE WHEN pg_is_in_recovery()
    THEN pg_last_wal_replay_lsn()
    ELSE pg_current_wal_insert_lsn() END - '0/0')::bigint,
  current_setting('wal_block_size')::int,
  pg_size_bytes(current_setting('wal_segment_size'))""",
    (),
)
"""Asks a server for its place. A standby's timeline is one that it has begun to replay for
certain. Only roles with pg_read_all_stats see the one it receives; to others it shows at the next
restartpoint. Functions in FROM would take three times as long."""

REACH = Statement(
    b"""SELECT pg_is_in_recovery(),
  (replayed - '0/0')::bigint,
  (greatest(replayed, received) - '0/0')::bigint
FROM (SELECT
  CASE WHEN pg_is_in_recovery()
    THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END AS replayed,
  CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() END AS received
) AS reach""",
    (),
)
"""Asks a server, after a read, how far into the log that read can have seen."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A place in the log of one cluster of servers.

    Two servers on the same timeline have the same log up to the lower of their two positions.
    A promotion begins a new timeline, of a higher number, whose log leaves out what was lost.
    """

    timeline: int
    lsn: int
    system: int

    def continues(self, other: Place) -> bool:
        """Say whether a server at this place has all that one at the other had, and no more lost.

        A later timeline lacks what was lost in its promotion: the primary has to tell first.
        """
        same = (self.system, self.timeline) == (other.system, other.timeline)
        return same and self.lsn >= other.lsn


class Reach(NamedTuple):
    """Where a read's data may end: certainly not before the first, certainly before the second."""

    replayed: Place
    received: Place


def place_of(rows: Sequence[Row]) -> Place | None:
    """Return what `PLACE` gave; None of a server that cannot tell."""
    _, system, timeline, lsn, page, segment = rows[0]
    if timeline is None or lsn is None:
        return None
    return Place(timeline, end_of_record(lsn, page, segment), system)


def reach_of(rows: Sequence[Row], place: Place) -> Reach:
    """Return what `REACH` gave of a server that was at this place before."""
    _, replayed, received = rows[0]
    return Reach(
        Place(place.timeline, replayed, place.system),
        Place(place.timeline, received, place.system),
    )


def promoted(place: Sequence[Row], reach: Sequence[Row]) -> bool:
    """Say whether the server that gave both was promoted in between."""
    return bool(place[0][0] != reach[0][0])


def end_of_record(lsn: int, page: int, segment: int) -> int:
    """Return where the log's last record ends, given where the next one begins.

    At the end of a page they differ by the next page's header: a standby that has replayed
    everything is before it.
    """
    if lsn % segment == SEGMENT_HEADER:
        return lsn - SEGMENT_HEADER
    return lsn - PAGE_HEADER if lsn % page == PAGE_HEADER else lsn
