"""What a contract leaves in the report: its rule, its store, and a message that teaches."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Callable, Generator
from typing import Any

import pytest

from contract_tests.fix_cell import CELL, FOLDER, SEED
from contract_tests.fix_stores import _row
from harness.report.outcome import write_outcome

Measure = Callable[..., None]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Note rule and store of each contract with its result."""
    for item in session.items:
        for mark in item.iter_markers("contract"):
            item.user_properties.append(("contract", mark.args[0]))
        row = _row(item)
        if row is not None:
            item.user_properties.append(("store", row.name))
        item.user_properties.append(("rule", _rule(item)))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    """Tell with every failure the rule, what was done, where to look and how to repeat it."""
    outcome = yield
    report: pytest.TestReport = outcome.get_result()
    if not report.failed:
        return
    rules = [mark.args[0] for mark in item.iter_markers("contract")]
    recording = getattr(item, "recording", None)
    done = recording.lines() if recording else []
    lines = [
        f"rule         {', '.join(rules)}: {_rule(item)}",
        *(f"what to check  {line}" for line in _hints(item)),
        "what was done",
        *(f"  {line}" for line in done or ["(no call of the store)"]),
        f"server log   {item.config.stash[FOLDER] / 'server.log'}",
        f"again        {_replay(item)}",
    ]
    report.sections.append(("contract", "\n".join(lines)))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Say that the cell ran to its end, if it did."""
    ran = exitstatus in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}
    if CELL in session.config.stash and ran and not session.config.option.collectonly:
        write_outcome(session.config.stash[FOLDER], "done", "")


@pytest.fixture
def measure(request: pytest.FixtureRequest) -> Measure:
    """Note a measurement of the cell in the report, beside what its row promises."""

    def note(event: str, **figures: object) -> None:
        request.node.user_properties.append(("measured", {"event": event, **figures}))

    return note


def _rule(item: pytest.Item) -> str:
    return (inspect.getdoc(item.obj) or item.name).splitlines()[0]  # type: ignore[attr-defined] # a Function


def _hints(item: pytest.Item) -> list[str]:
    return (inspect.getdoc(item.obj) or "").splitlines()[2:]  # type: ignore[attr-defined] # a Function


def _replay(item: pytest.Item) -> str:
    """Return the command that runs exactly this contract again."""
    row = _row(item)
    session = f"matrix({item.config.stash[CELL].id})"
    words = ["nox", "-s", session, "--", "-k", item.originalname]  # type: ignore[attr-defined] # a Function
    words += ["--store", row.name] if row else []
    provider = item.config.getoption("provider")
    words += [] if provider == "auto" else ["--provider", provider]
    return shlex.join([*words, "--seed", str(item.config.stash[SEED])])
