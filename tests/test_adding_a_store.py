"""docs/adding-a-store.md, done as it says: a store elsewhere, a failing rule, its repair."""

from __future__ import annotations

import re
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.capabilities import CAPABILITIES
from harness.opening import load_factory
from tests.project import ROOT, Project

PAGE = (ROOT / "docs" / "adding-a-store.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Return the page's code blocks in a language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def documented(tmp_path: Path) -> Iterator[Project]:
    """A project with the contracts of conversations, and the page's store in a folder beside it."""
    made = Project(tmp_path / "project")
    name = "test_conversation.py"
    shutil.copy2(ROOT / "contract_tests" / name, made.folder / "contract_tests" / name)
    (tmp_path / "my-agent").mkdir()
    (tmp_path / "my-agent" / "my_memory.py").write_text(blocks("python")[0], encoding="utf-8")
    yield made
    made.close()


@pytest.mark.timeout(180)  # it runs nox three times
def test_a_new_users_path_leads_from_red_to_green(documented: Project) -> None:
    """Each command says what the page says: the rule, then what repeats it, then no failure."""
    first, again, *_ = blocks("sh")
    red = ran(documented, first)
    assert red[0] != 0
    for line in blocks("text")[0].splitlines():
        assert flat(line) in flat(red[1]), red[1]

    replay = re.search(r"again\s+(nox .*?--seed \d+ --reports \S+)", flat(red[1]))
    assert replay, red[1]
    repeated = ran(documented, replay[1])
    assert repeated[0] != 0
    assert "conv-8" in repeated[1], repeated[1]

    repair(documented.folder.parent / "my-agent" / "my_memory.py", *blocks("diff"))
    assert first == again
    green = ran(documented, again)
    assert green[0] == 0, green[1]
    assert "contracts: 1 pass" in green[1]


def test_the_row_on_the_page_is_one(documented: Project) -> None:
    """matrix.toml takes it, and its words are those of the harness."""
    row = blocks("toml")[0]
    assert {*tomllib.loads(row)["stores"]["ListStore"]["lacks"]} <= {*CAPABILITIES}
    path = documented.folder / "matrix.toml"
    path.write_text(path.read_text(encoding="utf-8") + "\n" + row, encoding="utf-8")
    listed = documented.nox("-l", "-s", "matrix", "--", "--store", "ListStore")
    assert "matrix(redis6_aof_always_noeviction)" in listed.stdout
    assert "postgres" not in listed.stdout


def test_the_contract_that_the_page_names_exists() -> None:
    """Of connections that are left open."""
    [name] = re.findall(r"`net-8 (\w+)`", PAGE)
    assert callable(load_factory(f"contract_tests.test_connections:{name}"))


def ran(project: Project, command: str) -> tuple[int, str]:
    """Run a command of the page, without containers; return its exit code and what it printed."""
    words = shlex.split(command)[1:]
    ended = project.nox(*words, "--provider", "embedded", PYTEST_ADDOPTS="")
    return ended.returncode, ended.stdout


def repair(path: Path, change: str) -> None:
    """Apply a change of one line."""
    old, new = (line[1:] for line in change.splitlines())
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")


def flat(text: str) -> str:
    """Return text on one line."""
    return " ".join(text.split())
