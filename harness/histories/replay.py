"""Judging a stored history again."""

from typing import cast

from harness.histories.check import check
from harness.histories.locks import LockHistory, LockRecord, check_locks
from harness.histories.record import History, HistoryRecord
from harness.histories.verdict import Violation


def replay(record: object) -> list[Violation]:
    """Return what is wrong with a history as `to_dict` wrote it, of messages or of a lock.

    Raises ValueError for anything else.
    """
    kind = record.get("kind") if isinstance(record, dict) else None
    if kind == "messages":
        return check(History.from_dict(cast("HistoryRecord", record)))
    if kind == "lock":
        return check_locks(LockHistory.from_dict(cast("LockRecord", record)))
    raise ValueError(f"not a recorded history: its kind is {kind!r}")
