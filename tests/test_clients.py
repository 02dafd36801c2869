"""The clients of matrix.toml: what they may say, what the README says of them, their table."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from harness.clients import FACTS, FOLDER, interpreter, summary
from harness.clients.summary import markdown, read_clients
from harness.matrix import load
from harness.report.outcome import Outcome, write_outcome
from harness.tables import MatrixError
from tests.project import ROOT
from tests.test_matrix import GOOD, written

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
CLIENTS = load().clients
CLIENT = '\n[clients]\none = { packages = ["redis==5.0.8"], backend = "redis", lane = "fast" }\n'


def pins(package: str) -> list[Version]:
    """Return the versions of a package that clients have, the oldest first."""
    pinned = [Requirement(text) for client in CLIENTS.values() for text in client.packages]
    return sorted(
        Version(str(one.specifier).removeprefix("==")) for one in pinned if one.name == package
    )


def required(package: str) -> Requirement:
    """Return what pyproject.toml requires of a package."""
    lines = [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["harness"]]
    return next(one for one in map(Requirement, lines) if one.name == package)


@pytest.mark.parametrize("package", ["redis", "psycopg", "fakeredis"])
def test_the_ranges_are_what_clients_run(package: str) -> None:
    """No version is allowed below the oldest client's, and each client's is allowed."""
    tried, allowed = pins(package), required(package).specifier
    assert str(tried[0]) in str(allowed).replace(">=", "").split(",")
    assert all(version in allowed for version in tried)
    assert Version(f"{tried[-1].major + 1}.0") not in allowed


@pytest.mark.parametrize(
    ("name", "package"),
    [("redis-py", "redis"), ("psycopg", "psycopg"), ("fakeredis", "fakeredis")],
)
def test_the_readme_states_the_ranges(name: str, package: str) -> None:
    """From the oldest to the newest that clients run, as pyproject.toml allows them."""
    tried = pins(package)
    newest = f"{tried[-1].major}.{tried[-1].minor}"
    oldest = str(tried[0]).removesuffix(".0")
    assert f"{name} {oldest} to {newest}" in README


def test_every_line_of_drivers_is_there() -> None:
    """The majors of redis-py, the minors of psycopg and fakeredis, and the Pythons."""
    assert {version.major for version in pins("redis")} == {5, 6, 7, 8}
    assert {version.release[:2] for version in pins("psycopg")} == {(3, 2), (3, 3)}
    assert len({version.minor for version in pins("fakeredis")}) == 2
    pythons = [client.python for client in CLIENTS.values() if client.python]
    assert pythons == ["3.11", "3.12", "3.13", "3.14"]


def test_a_driver_runs_the_cells_of_its_backend() -> None:
    """In its lane, or in the one that is asked for."""
    matrix = load()
    assert {cell.backend for cell in matrix.cells_with("redis_5_0", None)} == {"redis"}
    assert {cell.backend for cell in matrix.cells_with("psycopg_3_2", None)} == {"postgres"}
    assert {cell.backend for cell in matrix.cells_with("python_3_12", None)} == {
        "postgres",
        "redis",
    }
    assert [cell.id for cell in matrix.cells_with("redis_5_0", "fast")] == ["fakeredis7"]
    assert not matrix.cells_with("psycopg_3_2", None, ["RedisStore"])
    with pytest.raises(MatrixError, match="there is no client 'redis_5'; there are 14 names"):
        matrix.cells_with("redis_5", None)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("redis==5.0.8", "redis>=5", "one] packages: must be a list, each a pinned package: "),
        ('"fast"', '"quick"', "[clients.one] lane: must be one of fast, "),
        ('backend = "redis"', 'backend = "mysql"', "[clients.one] backend: must be one of "),
        ('packages = ["redis==5.0.8"]', 'python = "2.7"', "[clients.one] python: must be a vers"),
        ('packages = ["redis==5.0.8"], ', "", "[clients.one] packages: must be there, or python"),
        ("lane =", "python = '3.12', lan =", "[clients.one] lane: missing; must be one of fast, "),
    ],
)
def test_a_wrong_client_is_answered_with_one_line(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    """The key, what is wrong, what is allowed."""
    assert list(load(written(tmp_path, GOOD + CLIENT)).clients) == ["one"]
    with pytest.raises(MatrixError) as error:
        load(written(tmp_path, GOOD + CLIENT.replace(old, new)))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_pythons_that_pyenv_hides_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that are installed, active or not; others are left to nox."""
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    assert interpreter("3.12") == "3.12"
    python = tmp_path / "versions" / "3.12.4" / "bin" / "python3.12"
    python.parent.mkdir(parents=True)
    python.touch()
    assert interpreter("3.12") == str(python)
    assert interpreter("3.1") == "3.1"


def test_the_table_tells_what_passed_failed_and_did_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client is green only if each of its cells ran; a Python that is not here is named."""
    monkeypatch.setattr(summary, "get_interpreter", lambda name: name if name != "3.14" else None)
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "none"))
    leave(tmp_path, "redis_5_0", "passed")
    leave(tmp_path, "redis_6_4", "failed")
    leave(tmp_path, "redis_7_4", None)
    clients = {client.id: client for client in read_clients(load(), tmp_path, "this run")}
    assert {name: client.outcome for name, client in clients.items()} == {
        "redis_5_0": "pass",
        "redis_6_4": "fail",
        "redis_7_4": "not run",
        "python_3_14": "not run",
    }
    page = markdown(list(clients.values()))
    assert "| redis_5_0 | 3.11.7 | 1.2.3 | 1.2.3 | 1.2.3 | 1 of 1 | 1 pass | 1 |" in page
    assert "- redis_6_4  fakeredis7  test_it  fail: AssertionError: no" in page
    assert "- redis_7_4  fakeredis7: not run: it left no report" in page
    assert "not run: there is no Python 3.14 here |" in page
    assert not read_clients(load(), tmp_path, "another run")[:-1]


def leave(reports: Path, client: str, outcome: str | None) -> None:
    """Leave what a client leaves that ran one contract in one cell; None: that did not run."""
    folder = reports / FOLDER / client
    cell = folder / "fakeredis7"
    cell.mkdir(parents=True)
    versions = dict.fromkeys(("redis", "psycopg", "fakeredis"), "1.2.3")
    facts = {"run": "this run", "python": "3.11.7", "versions": versions, "cells": ["fakeredis7"]}
    (folder / FACTS).write_text(json.dumps(facts), encoding="utf-8")
    if outcome is None:
        return
    call = {
        "$report_type": "TestReport",
        "nodeid": "t.py::test_it",
        "location": ["t.py", 1, "test_it"],
        "user_properties": [["contract", "conv-1"], ["store", "RedisStore"]],
        "outcome": outcome,
        "when": "call",
        "duration": 1.0,
        "sections": [],
        "longrepr": {
            "reprcrash": {"message": "AssertionError: no"},
            "reprtraceback": {"reprentries": []},
        },
    }
    end = {**call, "when": "teardown", "outcome": "passed", "duration": 0.0}
    lines = "\n".join(json.dumps(entry) for entry in (call, end))
    (cell / "results.jsonl").write_text(lines, encoding="utf-8")
    write_outcome(cell, Outcome("done", ""))
