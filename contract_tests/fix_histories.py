"""Recorded histories: judged, and kept with the report where they break a rule."""

from __future__ import annotations

import json
import re
from typing import Protocol

import pytest

from contract_tests.fix_cell import FOLDER, SEED
from harness.histories import History, LockHistory, check, check_locks, explain


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
        folder = request.config.stash[FOLDER] / "histories"
        folder.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"[^\w.-]+", "-", request.node.name)
        path = folder / f"{name}.json"
        path.write_text(json.dumps(history.to_dict(), indent=1) + "\n", encoding="utf-8")
        pytest.fail(
            f"{explain(violations)}\nthe whole history: python -m harness.histories {path}",
            pytrace=False,
        )

    return judged
