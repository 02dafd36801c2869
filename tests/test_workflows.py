"""GitHub's workflows: lint sees what is wrong in them, and what they run is what it seems."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from harness.matrix import load
from tests.project import ROOT

FOLDER = ROOT / ".github" / "workflows"
MATRIX, CI = (
    YAML(typ="safe").load((FOLDER / name).read_text()) for name in ("matrix.yml", "ci.yml")
)
TOOLS = Path(sys.executable).parent
OFFLINE = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
GOOD = """
name: good
on: push
permissions: {}
concurrency: {group: good, cancel-in-progress: true}
jobs:
  job:
    name: job
    runs-on: ubuntu-latest
    timeout-minutes: 5
    steps:
      - run: echo hello
"""


def zizmor(workflow: Path) -> subprocess.CompletedProcess[str]:
    """Run zizmor as `nox -s lint` does."""
    words = [str(TOOLS / "zizmor"), "--offline", "--quiet", "--persona=auditor", str(workflow)]
    return _run(words, **OFFLINE)


def schema(workflow: Path) -> subprocess.CompletedProcess[str]:
    """Run check-jsonschema as `nox -s lint` does."""
    words = [sys.executable, "-m", "check_jsonschema", "-q"]
    words += ["--builtin-schema=vendor.github-workflows", str(workflow)]
    return _run(words, **OFFLINE)


@pytest.fixture
def workflow(tmp_path: Path) -> Path:
    """A workflow with no fault, where zizmor looks for them."""
    path = tmp_path / ".github" / "workflows" / "some.yml"
    path.parent.mkdir(parents=True)
    path.write_text(GOOD)
    assert zizmor(path).returncode == schema(path).returncode == 0
    return path


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("echo hello", "echo ${{ github.head_ref }}", "template-injection"),
        ("run: echo hello", "uses: actions/checkout@v7", "unpinned-uses"),
        ("permissions: {}", "permissions: write-all", "excessive-permissions"),
    ],
)
def test_lint_refuses_what_is_unsafe(workflow: Path, old: str, new: str, fault: str) -> None:
    """Injection, actions that can change, and rights that nobody needs; without network."""
    workflow.write_text(GOOD.replace(old, new))
    found = zizmor(workflow)
    assert found.returncode != 0
    assert fault in found.stdout


@pytest.mark.parametrize("slip", ["run-on: x", "timeout-minutes: soon", "step: []"])
def test_lint_refuses_what_github_would_not_run(workflow: Path, slip: str) -> None:
    """A key that does not exist, or a value of the wrong kind; without network."""
    workflow.write_text(GOOD.replace("    timeout-minutes: 5", f"    {slip}"))
    assert schema(workflow).returncode != 0


@pytest.mark.parametrize("workflow_", [MATRIX, CI], ids=["matrix", "ci"])
def test_every_job_ends_in_time_and_has_no_more_rights_than_it_needs(
    workflow_: dict[str, Any],
) -> None:
    """Only the issue's job may write anything, and the gate waits for all that must pass."""
    assert workflow_["permissions"] == {}
    jobs = workflow_["jobs"]
    assert all(job["timeout-minutes"] <= 60 for job in jobs.values())
    writing = [name for name, job in jobs.items() if "write" in job["permissions"].values()]
    assert writing == (["issue"] if "issue" in jobs else [])
    assert set(jobs["gate"]["needs"]) == set(jobs) - {"gate", "issue"}
    assert jobs["gate"]["if"] == "always()"


@pytest.mark.parametrize(
    ("results", "code"),
    [
        ("success success success", 0),
        ("success failure success", 1),
        ("success skipped success", 1),
    ],
)
def test_the_gate_opens_only_where_all_passed(results: str, code: int) -> None:
    """What was skipped or cancelled did not pass."""
    for jobs in (MATRIX["jobs"], CI["jobs"]):
        assert len(jobs["gate"]["needs"]) == 3
        (step,) = jobs["gate"]["steps"]
        assert _run(["bash", "-e", "-c", step["run"]], RESULTS=results).returncode == code


@pytest.mark.parametrize(
    ("seed", "words"), [("", []), ("7", ["--seed", "7"]), ("1; id", ["--seed", "1; id"])]
)
def test_a_shard_gets_what_was_asked_for(tmp_path: Path, seed: str, words: list[str]) -> None:
    """Lane, shard and seed as words of their own: what somebody typed is never run."""
    _stub(tmp_path, "sudo", 'shift; printf "%s\\n" "$@"')
    (command,) = [step["run"] for step in MATRIX["jobs"]["cells"]["steps"] if "nox" in str(step)]
    path = f"{tmp_path}:{os.environ['PATH']}"
    ran = _run(["bash", "-e", "-c", command], PATH=path, LANE="matrix", SHARD="2/4", SEED=seed)
    given = ran.stdout.splitlines()
    assert given[given.index("nox") :] == [
        *("nox", "-s", "matrix", "--", "--lane", "matrix", "--shard", "2/4"),
        *words,
        *("--provider", "docker", "--strict"),
    ]


def test_the_lanes_that_can_be_chosen_exist() -> None:
    """GitHub offers them in a list."""
    chosen = MATRIX["on"]["workflow_dispatch"]["inputs"]["lane"]
    assert set(chosen["options"]) <= set(load().lanes)
    assert chosen["default"] in chosen["options"]


@pytest.mark.parametrize(("open_", "does"), [("", "issue create"), ("12", "issue comment 12")])
def test_a_failed_night_opens_one_issue(tmp_path: Path, open_: str, does: str) -> None:
    """Or adds to it, where it is open already."""
    log = tmp_path / "log"
    _stub(tmp_path, "gh", f'if [[ $2 == list ]]; then echo "{open_}"; else echo "$@" >>{log}; fi')
    (step,) = MATRIX["jobs"]["issue"]["steps"]
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = _run(["bash", "-e", "-c", step["run"]], PATH=path, TITLE="It fails", BODY="the run")
    assert done.returncode == 0, done.stdout
    (said,) = log.read_text().splitlines()
    assert said.startswith(does)
    assert said.endswith("the run")


def test_images_are_pulled_once_and_kept(tmp_path: Path) -> None:
    """`.ci/pull` gets those of matrix.toml; the next time it takes them from its folder."""
    log, kept = tmp_path / "log", tmp_path / "kept"
    _stub(
        tmp_path,
        "docker",
        f"""echo "$@" >>{log}
case $1 in
  load) touch {tmp_path}/loaded ;;
  image) [[ -e {tmp_path}/loaded ]] ;;
  save) touch "$3" ;;
esac""",
    )
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "MATRIX_REGISTRY": "a.mirror"}
    images = {c.image.image for c in load().cells.values() if not c.image.fake}
    first = _run([str(ROOT / ".ci" / "pull"), str(kept)], **environment)
    assert first.returncode == 0, first.stdout
    done = log.read_text()
    pulled = re.findall(r"^pull --quiet a\.mirror/(\S+)$", done, re.MULTILINE)
    assert sorted(pulled) == sorted(map(str, images))
    assert "save" in done
    log.unlink()
    assert _run([str(ROOT / ".ci" / "pull"), str(kept)], **environment).returncode == 0
    assert re.findall(r"^(load|pull|save)", log.read_text(), re.MULTILINE) == ["load"]


def _stub(folder: Path, name: str, body: str) -> None:
    path = folder / name
    path.write_text(f"#!/usr/bin/env bash\n{body}\n")
    path.chmod(0o755)


def _run(words: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
