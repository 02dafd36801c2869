"""What a run in which contracts fail leaves and says, for people, for GitHub and for other CI."""

from __future__ import annotations

import json
import random
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.project import NOX, SUITE, Project, contracts

pytestmark = pytest.mark.timeout(120)
CELLS = ["redis6_none_allkeys_lru", "redis6_none_noeviction"]
FAILS = contracts('''
@contract("conv-1")
def test_passes(store):
    """A rule that is kept."""
    store.append_message("s", Message("user", "hello"))

@contract("conv-2")
@pytest.mark.parametrize("n", [1, 11])
def test_fails(store, server, rng, n):
    """A rule that is broken, 100%."""
    Path(f"{server.url.partition(':')[2].split(':')[1].partition('@')[0]}.password").touch()
    assert n == 1, f"100%, {rng.random()}: {server.url}\\nwith a second line"

@contract("conv-3")
@pytest.mark.parametrize("text", ["it's no name", "half#left"])
def test_fails_with_odd_text(store, rng, text):
    """A rule that is broken where -k cannot say it."""
    assert text == "half#left", rng.random()

@contract("conv-4")
@needs("resharding")
def test_does_not_apply(store):
    """A rule for clusters."""
''')


@dataclass(frozen=True)
class FailingRun:
    """A run of two cells by nox, without a terminal, as GitHub would start it."""

    project: Project
    exit: int
    printed: str

    @property
    def lines(self) -> list[str]:
        """What it printed."""
        return self.printed.splitlines()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FailingRun]:
    """The run."""
    project = Project(tmp_path_factory.mktemp("failing") / "project")
    project.write_contracts(FAILS)
    words = [f"matrix({cell})" for cell in CELLS] + ["--", "--provider", "embedded"]
    done = project.nox("-s", *words, GITHUB_ACTIONS="true")
    yield FailingRun(project, done.returncode, done.stdout)
    project.close()


def test_without_a_terminal_each_event_is_a_line(run: FailingRun) -> None:
    """When a cell begins, when a contract fails, and when a cell ends: counts, time, the rest."""
    assert run.exit == 1
    for cell in CELLS:
        begins = run.lines.index(f"Starting session matrix({cell})...")
        failed = f"failed in {cell}: test_fails[RedisStore-11]: AssertionError: 100%, "
        fails = next(n for n, line in enumerate(run.lines) if line.startswith(failed))
        assert begins < fails
        assert sum(line.startswith(f"failed in {cell}: ") for line in run.lines) == 4
        assert sum(f"✗ matrix({cell}): failed" in line for line in run.lines) == 1
    ended = [line for line in run.lines if "6 pass, 4 fail, 2 not applicable in " in line]
    assert len(ended) == 2
    assert ended[-1].endswith("run: 2 of 2 cells")
    assert "\x1b" not in run.printed
    assert "\r" not in run.printed


def test_each_contract_that_failed_is_one_annotation(run: FailingRun) -> None:
    """With file and line, the cells, and what GitHub reads as its own signs escaped."""
    found = [line for line in run.lines if line.startswith("::")]
    source = (run.project.folder / "contract_tests" / "test_some.py").read_text().splitlines()
    line = next(n for n, text in enumerate(source, 1) if "with a second line" in text)
    assert len(found) == 2, found
    assert found[0].startswith(
        f"::error file=contract_tests/test_some.py,line={line},title=conv-2%3A test_fails::"
        f"in {', '.join(CELLS)}; first, test_fails[RedisStore-11]:%0AAssertionError: 100%25, 0."
    ), found[0]
    assert "%0Awith a second line" in found[0].replace("%0A  with", "%0Awith")
    assert "again        nox -s 'matrix(" in found[0]
    assert "title=conv-3%3A test_fails_with_odd_text::" in found[1]


def test_each_cell_leaves_a_junit_file(run: FailingRun) -> None:
    """Its test cases are of the cell, with rule, store, reasons and the way back."""
    for cell in CELLS:
        (suite,) = ET.parse(run.project.reports / cell / "junit.xml").getroot()  # noqa: S314 - ours
        totals = {
            key: int(suite.get(key, "")) for key in ("tests", "failures", "errors", "skipped")
        }
        assert totals == {"tests": 12, "failures": 4, "errors": 0, "skipped": 2}
        about = {one.get("name"): one.get("value", "") for one in suite.iterfind("properties/*")}
        assert (about["cell"], about["server"][:4]) == (cell, "6.2.")
        cases = {case.get("name"): case for case in suite.iter("testcase")}
        assert {case.get("classname") for case in cases.values()} == {
            f"{cell}.contract_tests.test_some"
        }
        skipped = cases["test_does_not_apply[RedisStore]"].find("skipped")
        assert skipped is not None
        assert skipped.get("message") == "not applicable: one server has all sessions"
        failed = cases["test_fails[RedisStore-11]"]
        noted = {one.get("name"): one.get("value", "") for one in failed.iter("property")}
        assert noted["contract"] == "conv-2"
        assert noted["store"] == "RedisStore"
        assert noted["rule"] == "A rule that is broken, 100%."
        assert noted["again"].startswith(f"nox -s 'matrix({cell})' -- ")


def test_no_password_is_in_what_is_printed_or_left(run: FailingRun) -> None:
    """Though the failing contract has it in its message."""
    passwords = [path.stem for path in run.project.folder.glob("*.password")]
    assert len(passwords) == len(CELLS)
    texts = {path: path.read_text() for path in run.project.reports.rglob("*") if path.is_file()}
    assert {path.name for path in texts} >= {"junit.xml", "results.jsonl", "summary.md"}
    for password in passwords:
        assert password not in run.printed
        assert not [path for path, text in texts.items() if password in text]


@pytest.mark.parametrize(
    "test", ["test_fails[AsyncRedisStore-11]", "test_fails_with_odd_text[RedisStore-it's no name]"]
)
def test_the_printed_command_repeats_exactly_the_contract(run: FailingRun, test: str) -> None:
    """The same cell, provider, store and choices; it fails in the same way, and alone."""
    first = _failure(run.project.reports / CELLS[0], test)
    again = shlex.split(_again(first))
    assert again[0] == "nox"
    before = (run.project.reports / CELLS[0] / "results.jsonl").read_bytes()
    repeated = run.project.run(*NOX, *again[1:], PYTEST_ADDOPTS="")
    assert repeated.returncode == 1, repeated.stdout
    folder = run.project.reports / "again" / CELLS[0]
    second = _failure(folder, test)
    assert _number(second) == _number(first)
    ran = {entry["nodeid"] for entry in _entries(folder) if entry["outcome"] == "failed"}
    assert len(ran) == 1
    assert json.loads((folder / "facts.json").read_text())["provider"] == "embedded"
    assert (run.project.reports / CELLS[0] / "results.jsonl").read_bytes() == before
    assert _again(second) == shlex.join(again)


def test_a_cell_of_another_lane_is_found_again(run: FailingRun) -> None:
    """The command of the fast lane names it: `nox -s matrix` has no such cell."""
    first = run.project.nox("-s", "fast", "--", "--store", "AsyncRedisStore")
    (again,) = {
        line.removeprefix("again").strip()
        for line in first.stdout.splitlines()
        if line.startswith("again") and "test_fails[AsyncRedisStore-11]" in line
    }
    repeated = run.project.run(*NOX, *shlex.split(again)[1:], PYTEST_ADDOPTS="")
    assert repeated.returncode == 1, repeated.stdout
    assert "1 of 1 cells ran; contracts: 1 fail" in repeated.stdout


def test_a_client_s_failure_is_repeated_with_that_client(run: FailingRun) -> None:
    """By its session, which runs one of its cells where `--cell` asks for it."""
    own = ("-m", "harness.clients", "redis_8_1", "--reports", "of-clients", "--cell", "fakeredis7")
    done = run.project.run(SUITE[0], *own, "--seed=7", "-k", "test_fails[AsyncRedisStore-11]")
    assert done.returncode == 1
    words = "-k 'test_fails[AsyncRedisStore-11]' --seed 7 --reports of-clients/again"
    assert f"nox -s 'clients(redis_8_1)' -- --cell fakeredis7 {words}" in done.stdout


def test_a_cell_s_folder_has_all_that_it_takes(run: FailingRun) -> None:
    """What the server was and said, the seed, and the versions on our side."""
    folder = run.project.reports / CELLS[0]
    facts = json.loads((folder / "facts.json").read_text())
    assert facts["version"].startswith("6.2.")
    assert facts["settings"]["maxmemory-policy"] == "allkeys-lru"
    assert set(facts["clients"]) >= {"python", "redis", "psycopg", "hypothesis"}
    assert (folder / "server.log").stat().st_size
    first = _failure(folder, "test_fails[RedisStore-11]")
    again = shlex.split(_again(first))
    assert again[again.index("--seed") + 1] == str(facts["seed"])
    seeded = random.Random(f"{facts['seed']}:test_fails[RedisStore-11]")
    assert _number(first) == str(seeded.random())


def _entries(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "results.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    return [entry for entry in entries if entry["$report_type"] == "TestReport"]


def _failure(folder: Path, test: str) -> dict[str, Any]:
    (found,) = [
        entry
        for entry in _entries(folder)
        if entry["outcome"] == "failed" and str(entry["nodeid"]).endswith(f"::{test}")
    ]
    return found


def _again(entry: dict[str, Any]) -> str:
    return next(str(value) for name, value in entry["user_properties"] if name == "again")


def _number(entry: dict[str, Any]) -> str:
    """Return the random number that a failure's message has."""
    message: str = entry["longrepr"]["reprcrash"]["message"]
    words = message.replace(":", " ").replace(",", " ").split()
    return next(word for word in words if word.startswith("0."))
