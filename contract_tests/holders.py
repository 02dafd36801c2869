"""Holding a lock in turns, in threads, tasks and processes alike."""

from __future__ import annotations

from contract_tests.workers import opened
from harness.crowd import meet
from harness.histories import LockHistory
from harness.histories.locks import LockRecord
from harness.opening import Opening
from stores.errors import LeaseLost
from stores.interface import MemoryStore

TURNS = 6
"""Turns of each holder: 3 holders of a lock that excludes nobody meet in 20 of 20 runs."""
LONG = 10.0
"""A lease, and a wait, that nothing here lasts for."""


def hold_in_turns(store: MemoryStore, history: LockHistory, worker: str, session_id: str) -> None:
    """Hold the lock again and again; count each time, which goes wrong where two hold it."""
    for _ in range(TURNS):
        hold = history.acquire(worker, lease=LONG)
        try:
            with hold, store.lock(session_id, lease=LONG, wait=LONG) as lease:
                hold.acknowledged(lease.token)
                found = store.load_context(session_id)
                count = found.value["count"] if found else 0
                store.save_context(session_id, {"count": count + 1})
                hold.releasing()
            hold.released()
        except LeaseLost:
            continue  # the history tells who else held it


def hold_in_process(opening: Opening, worker: str, session_id: str) -> LockRecord:
    """Hold the lock in turns with other processes; return what came of it."""
    history = LockHistory(0)
    with opened(opening) as store:
        store.ping()
        meet()
        hold_in_turns(store, history, worker, session_id)
    return history.to_dict()
