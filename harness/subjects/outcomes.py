"""What runs of a subject say of each contract: kept, broken, or one time so, another time so."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from harness.report.results import Result

KEPT, BROKEN, TIMING, LEFT_OUT = "kept", "broken", "depends on timing", "not applicable"
LONGEST = 200
CHANGING = re.compile(r"0x[0-9a-f]+|\b[0-9a-f]{12,}\b|\b\d+\.\d+ m?s\b|:\d{4,5}\b")
"""What differs from run to run in a message: addresses, random names, durations, ports."""


@dataclass(frozen=True, slots=True)
class Found:
    """What became of one contract: an outcome, and the first line of what it said."""

    outcome: str
    said: str = ""


@dataclass(frozen=True, slots=True)
class Measured:
    """What was found of one subject, with what, and when."""

    packages: Mapping[str, str]
    """Versions as installed."""
    servers: tuple[str, ...]
    date: str
    contracts: Mapping[str, Found] = field(default_factory=dict)
    """By ``rule test``."""

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> Measured:
        """Read what `to_dict` made."""
        parts = {name: text.partition(": ") for name, text in kept["contracts"].items()}
        contracts = {name: Found(outcome, said) for name, (outcome, _, said) in parts.items()}
        return cls(kept["packages"], tuple(kept["servers"]), kept["date"], contracts)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON, with a line of text for each contract."""
        lines = {
            name: f"{one.outcome}: {one.said}" if one.said else one.outcome
            for name, one in self.contracts.items()
        }
        return {**asdict(self), "contracts": lines}


def found(runs: Iterable[Iterable[Result]]) -> dict[str, Found]:
    """Join runs of one subject: the same contract, in several cells, with several parameters."""
    by_contract: dict[str, list[Result]] = {}
    for result in (one for run in runs for one in run):
        by_contract.setdefault(_name(result), []).append(result)
    return {name: _joined(results) for name, results in sorted(by_contract.items())}


def settled(now: Measured, before: Measured | None) -> Measured:
    """Return what to keep: where the same packages gave another outcome, that is a race.

    What was said stays as it was where the outcome did, and so does the date where all did.
    """
    if before is None or before.packages != now.packages:
        return now
    contracts = {
        name: _settled(one, before.contracts.get(name)) for name, one in now.contracts.items()
    }
    same = contracts == dict(before.contracts) and now.servers == before.servers
    return Measured(now.packages, now.servers, before.date if same else now.date, contracts)


def changes(name: str, now: Measured, before: Measured | None) -> list[str]:
    """Return a line for each contract whose outcome is another than the one that was kept."""
    if before is None:
        return [f"{name}: is new"]
    lines = [
        f"{name}: {package} is {version}, was {before.packages.get(package, 'not there')}"
        for package, version in now.packages.items()
        if before.packages.get(package) != version
    ]
    for contract in sorted({*now.contracts, *before.contracts}):
        new, old = (
            one.contracts[contract].outcome if contract in one.contracts else "not there"
            for one in (now, before)
        )
        if new != old:
            lines.append(f"{name}: {contract} is {new}, was {old}")
    return lines


def _settled(now: Found, before: Found | None) -> Found:
    if before is None:
        return now
    if before.outcome == now.outcome:
        return before
    if LEFT_OUT in {before.outcome, now.outcome}:
        return now
    if before.outcome == TIMING:
        return before
    return Found(TIMING, now.said or before.said)


def _name(result: Result) -> str:
    return f"{result.rule} {result.test.partition('[')[0]}"


def _joined(results: list[Result]) -> Found:
    """Broken is what failed in every run of a case; timing, what failed in some runs of each."""
    ran = [one for one in results if one.outcome in {"pass", "fail", "error"}]
    if not ran:
        return Found(LEFT_OUT, "; ".join(dict.fromkeys(one.reason for one in results)))
    failed = [one for one in ran if one.outcome != "pass"]
    if not failed:
        return Found(KEPT)
    passed = {one.test for one in ran if one.outcome == "pass"}
    always = [one for one in failed if one.test not in passed]
    return Found(BROKEN if always else TIMING, said((always or failed)[0].reason))


def said(reason: str) -> str:
    """Return the line of a failure that says most, without what differs from run to run."""
    lines = [line.strip() for line in reason.splitlines()]
    errors = [line[1:].strip() for line in lines if line.startswith("E  ")]
    line = next((line for line in errors or lines if line), "")
    line = CHANGING.sub("…", line)
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}…"
