"""What the results say of each mutant: caught for the right reason, or leaked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from harness.docs import ROOT, contracts
from harness.leaks.jobs import Ran
from harness.report.outcome import RESULTS, read_outcome
from harness.report.results import NOT_APPLICABLE
from mutants import Mutant

SHOWN = 160
SAID = 600
"""Characters at the end of what a job printed, where it did not get to its contracts."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a mutant, or of an unmutated adapter on its contract, in a cell."""

    store: str
    cell: str
    rule: str
    test: str
    outcome: str
    """``caught``, ``leaked``, ``not applicable``, ``wrong message`` or ``not run``; of an
    unmutated adapter ``pass``, ``fail``, ``not applicable`` or ``not run``."""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Phase:
    test: str
    store: str
    rules: tuple[str, ...]
    outcome: str
    said: str
    skipped: str


def verdicts(ran: Iterable[Ran]) -> list[Verdict]:
    """Judge all that ran."""
    return [verdict for one in ran for verdict in _of_job(one)]


def _of_job(ran: Ran) -> Iterator[Verdict]:
    phases = list(_phases(ran))
    found = read_outcome(ran.folder)
    failed = "" if found.outcome == "done" else " ".join(ran.printed[-SAID:].split())
    stopped = f"{found.outcome}: {found.reason} {failed}".strip()
    for mutant in ran.job.mutants:
        controls = [mutant.control] if ran.job.controls != "without" else []
        for store in [*controls, *([mutant.name] if ran.job.controls != "only" else [])]:
            own = [
                one
                for one in phases
                if one.test == mutant.test and one.store.removeprefix("Mocked") == store
            ]
            judge = _of_mutant if store == mutant.name else _of_control
            outcome, reason = judge(own, mutant) if own else ("not run", stopped)
            yield Verdict(store, ran.job.cell, mutant.rule, mutant.test, outcome, reason)


def missing(mutant: Mutant) -> str | None:
    """Return why no cell can catch the mutant: its contract is not in the suite."""
    there = {(one.rule, one.place.partition("::")[2]) for one in contracts(ROOT / "contract_tests")}
    if (mutant.rule, mutant.test) in there:
        return None
    return f"the suite has no contract {mutant.rule} {mutant.test}"


def _of_mutant(phases: list[_Phase], mutant: Mutant) -> tuple[str, str]:
    failed = [one for one in phases if one.outcome == "failed"]
    if any(part in one.said for one in failed for part in mutant.says.split("|")):
        return "caught", ""
    if failed:
        said = " ".join(failed[0].said.split())
        return "wrong message", f"it said {said[:SHOWN]!r} and not {mutant.says!r}"
    return _not_failed(phases, "leaked", f"{mutant.test} stayed green")


def _of_control(phases: list[_Phase], _: Mutant) -> tuple[str, str]:
    failed = [one for one in phases if one.outcome == "failed"]
    if failed:
        return "fail", " ".join(failed[0].said.split())[:SHOWN]
    return _not_failed(phases, "pass", "")


def _not_failed(phases: list[_Phase], green: str, why: str) -> tuple[str, str]:
    if any(not one.skipped for one in phases):
        return green, why
    skipped = [one.skipped for one in phases]
    why = "; or ".join(dict.fromkeys(one.removeprefix(NOT_APPLICABLE) for one in skipped))
    applies = any(not one.startswith(NOT_APPLICABLE) for one in skipped)
    return "not run" if applies else "not applicable", why


def _phases(ran: Ran) -> Iterator[_Phase]:
    """Join the setup, call and teardown of each contract."""
    path, entries = ran.folder / RESULTS, dict[str, list[dict[str, Any]]]()
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        entry = json.loads(line)
        if entry.get("$report_type") == "TestReport":
            entries.setdefault(entry["nodeid"], []).append(entry)
    for nodeid, parts in entries.items():
        properties = [pair for part in parts for pair in part["user_properties"]]
        skips = [_skip(part["longrepr"]) for part in parts if part["outcome"] == "skipped"]
        yield _Phase(
            test=nodeid.partition("::")[2].partition("[")[0],
            store=next((value for name, value in properties if name == "store"), ""),
            rules=tuple(value for name, value in properties if name == "contract"),
            outcome="failed" if any(p["outcome"] == "failed" for p in parts) else "passed",
            said="\n".join(_said(p["longrepr"]) for p in parts if p["outcome"] == "failed"),
            skipped=skips[0] if skips else "",
        )


def _skip(longrepr: Any) -> str:
    text = longrepr[2] if isinstance(longrepr, list) else str(longrepr)
    return str(text).removeprefix("Skipped: ")


def _said(longrepr: Any) -> str:
    """Return what a failure says: its messages, and not the source that is shown with them."""
    if not isinstance(longrepr, dict):
        return "\n".join(_messages(str(longrepr).splitlines()) or [str(longrepr)])
    crash = longrepr.get("reprcrash") or {}
    lines = [
        line
        for entry in (longrepr.get("reprtraceback") or {}).get("reprentries", [])
        for line in (entry.get("data") or {}).get("lines", [])
    ]
    return "\n".join([str(crash.get("message", "")), *_messages(lines)])


def _messages(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith("E ") or "  | " in line]
