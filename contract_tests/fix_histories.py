"""Recorded histories: judged, and kept with the report where they break a rule."""

from __future__ import annotations

import json
import re
import time
from typing import Any, Protocol

import pytest

from contract_tests.fix_cell import FOLDER, SEED
from contract_tests.fix_stores import _row
from contract_tests.outage import Outage
from harness.histories import History, LockHistory, check, check_locks, explain

KEPT = pytest.StashKey[list[str]]()
"""The histories that a test has kept, as paths in the cell's folder."""
FOLDER_NAME = "histories"


class Judge(Protocol):
    """Fails the test, and keeps the history, where it breaks a rule."""

    def __call__(self, history: History | LockHistory) -> None: ...


@pytest.fixture
def history(request: pytest.FixtureRequest) -> History:
    """An empty history, in which any error of an append or a read is an error of the test."""
    return History(request.config.stash[SEED])


@pytest.fixture
def lock_history(request: pytest.FixtureRequest) -> LockHistory:
    """An empty lock history, in which a refused lock is an error of the test."""
    return LockHistory(request.config.stash[SEED])


@pytest.fixture
def judge(request: pytest.FixtureRequest) -> Judge:
    """Check a history; write it to reports/<cell>/histories/ if it breaks a rule, and fail."""

    def judged(history: History | LockHistory) -> None:
        violations = check_locks(history) if isinstance(history, LockHistory) else check(history)
        if not violations:
            return
        kept = _keep(request.node, request.node.name, dict(history.to_dict()))
        path = request.config.stash[FOLDER] / kept
        pytest.fail(
            f"{explain(violations)}\nthe whole history: python -m harness.histories {path}",
            pytrace=False,
        )

    return judged


def histories_of(item: pytest.Item) -> list[str]:
    """Return which histories show what a failed test saw: those of its outages, else its own.

    Those of an outage are written once for all tests that judge it.
    """
    outages: list[Outage] = getattr(item, "funcargs", {}).get("outages", [])
    if not outages:
        return item.stash.get(KEPT, [])
    row, event = _row(item), item.funcargs["event"]  # type: ignore[attr-defined] # a Function
    kept = []
    for number, outage in enumerate(outages, start=1):
        for session_id, life in outage.lives.items():
            name = f"{event} {number} {row.name if row else ''} {session_id}"
            about = {"event": event, "event_ns": outage.event_ns, "session": session_id}
            kept.append(_keep(item, name, {**life.history.to_dict(), **about}))
    return kept


def _keep(item: pytest.Item, name: str, record: dict[str, Any]) -> str:
    """Write a history with its place in time; return its path in the cell's folder."""
    folder = item.config.stash[FOLDER]
    relative = f"{FOLDER_NAME}/{re.sub(r'[^A-Za-z0-9_.-]+', '-', name)}.json"
    path = folder / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    if relative not in item.stash.setdefault(KEPT, []):
        item.stash[KEPT].append(relative)
    if not path.exists():
        since = {"unix_ns": time.time_ns() - time.monotonic_ns()}  # add it for the time of day
        text = json.dumps({**record, **since}, indent=1)
        path.write_text(text + "\n", encoding="utf-8")
    return relative
