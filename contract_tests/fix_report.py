"""What a contract leaves in the report: its rule, its store, and a message that teaches."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Generator
from typing import Any

import pytest

from contract_tests.fix_cell import CELL, FACTS, FOLDER, REPORT, SEED
from contract_tests.fix_stores import EXCUSED, NOT_APPLICABLE, _row
from contract_tests.replay import again
from harness.report.secrets import hide_passwords, without_passwords

Measure = Callable[..., None]
BECAME = pytest.StashKey[dict[str, str]]()
"""What became of each contract so far: ``ran``, ``not applicable`` or ``not run``."""


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
    became = item.config.stash.setdefault(BECAME, {})
    if report.skipped and not hasattr(report, "wasxfail"):
        became[item.nodeid] = "not applicable" if item.stash.get(EXCUSED, False) else "not run"
        _refuse_own_excuse(item, report)
    elif report.when == "call" or report.failed:
        became[item.nodeid] = "ran"
    if not report.failed:
        hide_passwords([report.sections])  # what was printed stands in the teardown's report too
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
        f"again        {again(item)}",
    ]
    report.sections.append(("contract", "\n".join(lines)))
    for properties in (item.user_properties, report.user_properties):
        properties.append(("again", again(item)))
    hide_passwords([report.sections, report.longrepr])
    shown = report.longreprtext
    if (safe := without_passwords(shown)) != shown:  # it is no dataclass
        report.longrepr = safe


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Say what became of the cell: ``done`` only if contracts ran, and to the end."""
    if REPORT not in session.config.stash:
        return
    report, became = session.config.stash[REPORT], session.config.stash.get(BECAME, {})
    counts = Counter(became.values())
    left = len(session.items) - len(became) if hasattr(session, "items") else 0
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
        report.write("error", "no contract matches the options")
    elif exitstatus not in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}:
        why = "interrupted" if exitstatus == pytest.ExitCode.INTERRUPTED else "pytest failed"
        report.write("error", f"{why}: {counts['ran']} contracts ran, {left} were left")
    elif counts["ran"]:
        report.write("done", "", counts["not run"] + left)
    else:
        report.write("not run", f"of {len(became)} contracts none ran: they do not apply here")


@pytest.fixture
def measure(request: pytest.FixtureRequest) -> Measure:
    """Note a measurement of the cell in the report, beside what its row promises."""

    def note(event: str, **figures: object) -> None:
        request.node.user_properties.append(("measured", {"event": event, **figures}))

    return note


@pytest.fixture(scope="session", autouse=True)
def _noted_in_junit(
    pytestconfig: pytest.Config, record_testsuite_property: Callable[[str, object], None]
) -> None:
    """Say in the cell's JUnit file what its test cases ran on."""
    facts = pytestconfig.stash[FACTS]
    record_testsuite_property("cell", pytestconfig.stash[CELL].id)
    record_testsuite_property("seed", pytestconfig.stash[SEED])
    record_testsuite_property("server", f"{facts.version} by {facts.provider}")


def _refuse_own_excuse(item: pytest.Item, report: pytest.TestReport) -> None:
    """Let only matrix.toml say that a contract is not applicable."""
    path, line, said = report.longrepr if isinstance(report.longrepr, tuple) else ("", 0, "")
    if NOT_APPLICABLE in said and not item.stash.get(EXCUSED, False):
        report.longrepr = (path, line, said.replace(NOT_APPLICABLE, "by its own word: "))


def _rule(item: pytest.Item) -> str:
    return (inspect.getdoc(item.obj) or item.name).splitlines()[0]  # type: ignore[attr-defined] # a Function


def _hints(item: pytest.Item) -> list[str]:
    return (inspect.getdoc(item.obj) or "").splitlines()[2:]  # type: ignore[attr-defined] # a Function
