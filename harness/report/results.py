"""Reading reports/<cell>/: results, outcome and facts of one cell as data."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.report.failure import PROPERTY, Failure
from harness.report.outcome import RESULTS, read_outcome

OUTCOMES = ("pass", "fail", "error", "known gap", "not applicable", "not run")
GROUPS = ("conv", "ctx", "val", "iso", "ttl", "con", "net", "srv", "evi", "dur", "lock", "top")
FAILED = frozenset({"fail", "error"})
"""The outcomes that fail a run."""
NOT_APPLICABLE = "not applicable: "


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one contract on one store."""

    rule: str
    sentence: str
    test: str
    store: str
    outcome: str
    reason: str
    seconds: float
    measured: list[dict[str, Any]]
    setup_seconds: float = 0.0
    """Of ``seconds``: what its fixtures took to begin, those that others use too included."""
    file: str = ""
    """Where the contract is: the path in the repository."""
    line: int = 0
    """The line where it failed, else where it begins."""
    began: float = 0.0
    """Unix time."""
    message: str = ""
    """Of a failure: what went wrong, which ``reason`` has with all else."""
    failure: Failure | None = None

    @property
    def name(self) -> str:
        """The contract's function."""
        return self.test.partition("[")[0]

    @property
    def variant(self) -> str:
        """The store and the parameters that it ran with."""
        return self.test.partition("[")[2].removesuffix("]")

    @property
    def place(self) -> tuple[int, int, str]:
        """Where it stands in the catalogue."""
        group, _, number = self.rule.partition("-")
        return (
            GROUPS.index(group) if group in GROUPS else len(GROUPS),
            int(number) if number.isdigit() else 0,
            self.test,
        )

    @property
    def group(self) -> str:
        """The rule's group in the catalogue."""
        return self.rule.partition("-")[0]


@dataclass(frozen=True, slots=True)
class CellReport:
    """What a cell left."""

    cell: str
    outcome: str
    reason: str
    facts: dict[str, Any] = field(default_factory=dict)
    results: list[Result] = field(default_factory=list)
    unreached: int = 0
    """How many contracts were left when the run was stopped, by -x for instance."""

    def counts(self, group: str | None = None) -> Counter[str]:
        """Count outcomes, of one group or of all."""
        counts = Counter(r.outcome for r in self.results if group in {None, r.group})
        if group is None and self.unreached:
            counts["not run"] += self.unreached
        return counts

    @property
    def failed(self) -> list[Result]:
        """The results that fail a run."""
        return [result for result in self.results if result.outcome in FAILED]

    @property
    def left_out(self) -> Counter[str]:
        """Count the contracts that did not run, by reason."""
        counts = Counter(r.reason for r in self.results if r.outcome == "not run")
        return counts + Counter({"the run was stopped before them": self.unreached})

    @property
    def seconds(self) -> float:
        """How long its contracts took."""
        return sum(result.seconds for result in self.results)


def read_cell(folder: Path) -> CellReport:
    """Read one cell's folder; a cell that left nothing is ``not run``."""
    found, results = read_outcome(folder), _results(folder / RESULTS)
    unreached = found.not_run - sum(result.outcome == "not run" for result in results)
    return CellReport(
        folder.name, found.outcome, found.reason, _facts(folder), results, max(0, unreached)
    )


def _facts(folder: Path) -> dict[str, Any]:
    """Return what the server said of itself; nothing where it said nothing, or was cut off."""
    try:
        facts: dict[str, Any] = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return facts


def _results(path: Path) -> list[Result]:
    """Join the setup, call and teardown of each test; a last line cut by a kill is left out."""
    phases: dict[str, list[dict[str, Any]]] = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if entry.get("$report_type") == "TestReport":
            phases.setdefault(entry["nodeid"], []).append(entry)
    return [_result(nodeid, entries) for nodeid, entries in phases.items()]


def _result(nodeid: str, entries: list[dict[str, Any]]) -> Result:
    properties = [tuple(pair) for pair in entries[-1]["user_properties"]]
    named = dict(properties)
    outcome, reason = _outcome(entries)
    file, line = _where(entries)
    failed = next((entry for entry in entries if entry["outcome"] == "failed"), None)
    return Result(
        rule=named.get("contract", "?"),
        sentence=named.get("rule", ""),
        test=nodeid.rpartition("::")[2],
        store=named.get("store", ""),
        outcome=outcome,
        reason=reason,
        seconds=sum(entry["duration"] for entry in entries),
        measured=[value for name, value in properties if name == "measured"],
        setup_seconds=sum(e["duration"] for e in entries if e["when"] == "setup"),
        file=file,
        line=line,
        began=min(float(entry.get("start", 0)) for entry in entries),
        message=_crash(failed) if failed else "",
        failure=_failure(failed) if failed else None,
    )


def _where(entries: list[dict[str, Any]]) -> tuple[str, int]:
    """Return the contract's file, and the last line of it that a failure went through."""
    file, begins, _ = entries[0].get("location", ("", 0, ""))
    lines = [begins + 1]
    for entry in entries:
        crash = entry["longrepr"]
        if entry["outcome"] == "failed" and isinstance(crash, dict):
            steps = crash.get("reprtraceback", {}).get("reprentries", [])
            places = [step["data"].get("reprfileloc") for step in steps]
            lines += [place["lineno"] for place in places if place and place["path"] == file]
    return file, lines[-1]


def _outcome(entries: list[dict[str, Any]]) -> tuple[str, str]:
    for entry in entries:
        if entry["outcome"] == "failed":
            return ("fail" if entry["when"] == "call" else "error"), _message(entry)
    for entry in entries:
        if "wasxfail" in entry:
            return "known gap", str(entry["wasxfail"])
        if entry["outcome"] == "skipped":
            said = str(entry["longrepr"][2]).removeprefix("Skipped: ")
            if said.startswith(NOT_APPLICABLE):
                return "not applicable", said.removeprefix(NOT_APPLICABLE)
            return "not run", said
    if entries[-1]["when"] != "teardown":
        return "error", "the process ended in the middle of this test"
    return "pass", ""


def _message(entry: dict[str, Any]) -> str:
    """Return what went wrong, and the part of the report that teaches."""
    taught = [content for name, content in entry["sections"] if name == "contract"]
    return "\n".join([_crash(entry), *taught])


def _crash(entry: dict[str, Any]) -> str:
    crash = entry["longrepr"]
    if isinstance(crash, dict) and crash.get("reprcrash"):
        return str(crash["reprcrash"]["message"])
    return str(crash)


def _failure(entry: dict[str, Any]) -> Failure | None:
    kept = dict(tuple(pair) for pair in entry["user_properties"]).get(PROPERTY)
    return Failure.read(kept) if isinstance(kept, dict) else None
