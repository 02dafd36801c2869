"""What a contract leaves in the report: its rule, its store, and a message that teaches."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import asdict
from typing import Any

import pytest

from contract_tests.fix_cell import CELL, FACTS, FOLDER, REPORT, SEED
from contract_tests.fix_histories import histories_of
from contract_tests.fix_stores import EXCUSED, NOT_APPLICABLE, _row
from contract_tests.replay import again
from harness.recording import Recording, short
from harness.report.failure import PROPERTY, Failure
from harness.report.secrets import hide_passwords, without_passwords

Measure = Callable[..., None]
BECAME = pytest.StashKey[dict[str, str]]()
"""What became of each contract so far: ``ran``, ``not applicable`` or ``not run``."""
COMPARED = pytest.StashKey[tuple[str, str]]()
"""What the last comparison that did not hold expected and got."""
LONGEST_SIDE = 1000


def pytest_collection_finish(session: pytest.Session) -> None:
    """Note rule and store of each contract with its result."""
    for item in session.items:
        for mark in item.iter_markers("contract"):
            item.user_properties.append(("contract", mark.args[0]))
        row = _row(item)
        if row is not None:
            item.user_properties.append(("store", row.name))
        item.user_properties.append(("rule", _rule(item)))


def pytest_assertrepr_compare(config: pytest.Config, op: str, left: object, right: object) -> None:
    """Note both sides of a comparison that does not hold; pytest explains it."""
    wanted = short(right, LONGEST_SIDE)
    expected = wanted if op in {"==", "is"} else f"{op} {wanted}"
    config.stash[COMPARED] = expected, short(left, LONGEST_SIDE)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Forget what another contract compared."""
    item.config.stash[COMPARED] = ("", "")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, Any, None]:
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
    failure = _failure(item, call)
    report.sections.append(("contract", "\n".join(failure.lines())))
    for properties in (item.user_properties, report.user_properties):
        properties.append(("again", failure.again))
    report.user_properties.append((PROPERTY, hide_passwords(asdict(failure))))
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


def _failure(item: pytest.Item, call: pytest.CallInfo[None]) -> Failure:
    recording = getattr(item, "recording", None) or Recording()
    expected, got = item.config.stash.get(COMPARED, ("", ""))
    compared = call.excinfo is not None and call.excinfo.errisinstance(AssertionError)
    return Failure(
        rules=[mark.args[0] for mark in item.iter_markers("contract")],
        sentence=_rule(item),
        check=_hints(item),
        done=recording.lines(),
        log=str(item.config.stash[FOLDER] / "server.log"),
        again=again(item),
        expected=expected if compared else "",
        got=got if compared else "",
        histories=histories_of(item),
        calls=[list(span) for span in recording.at_once],
    )


def _rule(item: pytest.Item) -> str:
    return (inspect.getdoc(item.obj) or item.name).splitlines()[0]  # type: ignore[attr-defined] # a Function


def _hints(item: pytest.Item) -> list[str]:
    return (inspect.getdoc(item.obj) or "").splitlines()[2:]  # type: ignore[attr-defined] # a Function
