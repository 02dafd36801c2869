"""Concurrent histories of operations on one session, and what their checkers say about them.

Workers record what they asked for and what they were told (acknowledged, failed, unknown), an
inspector records what is really there, and the checkers name every promise that was broken. In the
spirit of Jepsen; plain data, so it knows no store.

    history = History(SEED, failed=(StoreUnavailable,), unknown=(OutcomeUnknown,))
    with history.append("w1", ["a", "b"]) as op:
        op.acknowledged(stored.position for stored in store.append_messages(...))
    with history.read("r1") as op:
        op.acknowledged((stored.position, stored.id) for stored in store.get_history(...))
    history.final(inspector...)
    violations = check(history)
    assert not violations, explain(violations)
"""

from harness.histories.check import CHECKS, Check, check
from harness.histories.locks import LOCK_CHECKS, Hold, LockCheck, LockHistory, check_locks
from harness.histories.loss import Loss, check_loss, loss_of
from harness.histories.record import Append, Entry, History, HistoryRecord, Read
from harness.histories.replay import replay
from harness.histories.updates import check_updates
from harness.histories.verdict import Operation, Outcome, Violation, explain

__all__ = [
    "CHECKS",
    "LOCK_CHECKS",
    "Append",
    "Check",
    "Entry",
    "History",
    "HistoryRecord",
    "Hold",
    "LockCheck",
    "LockHistory",
    "Loss",
    "Operation",
    "Outcome",
    "Read",
    "Violation",
    "check",
    "check_locks",
    "check_loss",
    "check_updates",
    "explain",
    "loss_of",
    "replay",
]
