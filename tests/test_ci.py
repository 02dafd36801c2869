"""What CI runs is what the README tells, and nothing in the repository is of one machine."""

from __future__ import annotations

import re
import subprocess

from tests.project import ROOT

RUN = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
FOREIGN = {
    "a registry's host": r"\b(?:docker\.io/|index\.docker\.io|ghcr\.io|quay\.io|gcr\.io)",
    "a folder of one machine": r"(?:/home/\w+|/root/\w+|/work/\w+|/Users/\w+|C:\\)",
}


def sessions(text: str) -> list[str]:
    """Return the nox sessions that a text runs, in order."""
    text = text.replace("\\\n", " ")
    return [words for line in re.findall(r"nox\s+-s ([^\n`|]+)", text) for words in [line.strip()]]


def test_ci_runs_the_tests_as_the_readme_does() -> None:
    """The README's command for the tests, in a block of its own, is a step of .ci/run."""
    blocks = re.findall(r"```\w*\n(.*?)```", README, re.DOTALL)
    assert any("tests" in sessions(block) for block in blocks)
    assert "tests" in sessions(RUN)


def test_ci_runs_everything_strictly() -> None:
    """Lint, tests, the fast lane, all cells in containers, some without Docker, and the leaks."""
    steps = sessions(RUN)
    assert steps[:3] == ["lint", "tests", "fast"]
    assert steps[3] == "matrix -- --provider docker --strict"
    assert "--provider embedded --strict" in steps[4]
    assert "matrix(redis6_" in steps[4]
    assert "matrix(postgres16_" in steps[4]
    assert steps[5].startswith("leaks")
    assert "export CI=true" in RUN


def test_no_file_is_of_one_machine_or_registry() -> None:
    """Tracked files name no registry's host and no absolute folder of somebody's machine."""
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    found = []
    for name in filter(None, names):
        path = ROOT / name
        if name == "tests/test_ci.py" or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        found += [
            f"{name}: {what}: {match[0]}"
            for what, pattern in FOREIGN.items()
            for match in re.finditer(pattern, text)
        ]
    assert not found
