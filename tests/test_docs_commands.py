"""Every command that README and docs show: the cheap ones are run, the others checked to be valid.

A new one needs a line in `RUN` or in `CHECKED`, or these tests fail and say so.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from bench import __main__ as bench
from harness.asked import asked
from harness.leaks import __main__ as leaks
from harness.matrix import load
from tests.pages import PAGES, commands
from tests.project import ROOT, Project, contracts
from tests.test_docs import PYTHON

RUN = {
    "nox -l": "matrix(redis7_cluster)",
    "nox -s fast": "1 of 1 cells ran; contracts: 2 pass",
    "nox -s fast -- -k test_what_is_appended_is_read_back": "1 of 1 cells ran; contracts: 2 pass",
    'nox -s "matrix(redis6_aof_always_noeviction)" -- -k test_what_is_appended_is_read_back '
    "--provider embedded": "1 of 1 cells ran; contracts: 2 pass",
    "nox -s report": f" of {len(load().lanes['matrix'])} cells ran",
    "nox -s docs": "Session docs was successful",
    "nox -s matrix -- --help": "usage: nox -s SESSION --",
}
"""Run word for word, in a copy of the project with one contract: what they print."""

CHECKED = {
    "matrix": "takes minutes and servers; tests/test_sessions*.py run cells",
    "smoke": "takes a minute and servers",
    "clients": "takes minutes and environments of its own",
    "leaks": "takes minutes",
    "bench": "takes a quarter of an hour",
    "tests": "would run this test",
    "lint": "takes half a minute, and the tests would change what it reads",
    "report": "with options: needs the reports of a run",
    "subjects": "takes minutes and servers",
    "compose": "tests/test_compose.py starts what it writes",
    "up": "leaves servers running",
    "down": "would end what others keep up",
    "sweep": "would sweep what other tests have started",
    "-t": "takes minutes and servers",
    "-l": "with options that only choose what is listed",
}
"""Not run, and why: by session. They must select something, and their options must be valid."""

OTHERS = {
    'python3 -m pip install "nox[uv]"': "changes the environment; pyproject.toml has nox",
    ".ci/pull": "pulls images; tests/test_workflows.py runs it with a Docker of its own",
    ".ci/pull ~/images": "the same",
    ".ci/images": "builds images for minutes; .ci/run runs it",
    "python -m harness.histories": "needs a history; tests/test_histories.py has some",
}
"""What is not nox, by its first words, and why it is not run."""

PLACEHOLDERS = {
    "CELL": "redis7_cluster",
    "ID": "redis7_cluster",
    "URL": "redis://db.example/0",
    "FOLDER": "reports",
    "$MACHINE/4": "1/4",
    "../my-agent": "stores",
}
"""What stands for something of the reader's, and what may stand there."""
PLAIN = {"NOX_SCRIPT_MODE": "none"}
"""The nox that runs this test is good enough: it need not make an environment for itself."""
SHOWN = commands()
PREFIX = re.compile(r"^(?:[A-Z_]+=\S+ )*(?:python3 -m |uvx )?(?=nox\b)")
EXAMPLE = "test_what_is_appended_is_read_back"


@dataclass(frozen=True)
class Nox:
    """A command of nox, taken apart."""

    sessions: list[str]
    tags: list[str]
    others: list[str]
    after: list[str]
    """What stands behind ``--``."""

    @classmethod
    def of(cls, command: str) -> Nox:
        """Read a command; nox's own options are those that the pages show."""
        words = [PLACEHOLDERS.get(word, word) for word in shlex.split(command)[1:]]
        cut = words.index("--") if "--" in words else len(words)
        parser = argparse.ArgumentParser(allow_abbrev=False, exit_on_error=False)
        parser.add_argument("-s", nargs="+", default=[])
        parser.add_argument("-t", nargs="+", default=[])
        known, others = parser.parse_known_args(words[:cut])
        return cls(known.s, known.t, others, words[cut + 1 :])

    @property
    def names(self) -> list[str]:
        """The keys of `CHECKED` that the command needs."""
        named = [session.partition("(")[0] for session in self.sessions]
        return named + ["-t"] * bool(self.tags) + (self.others if not named else [])


def nox_commands() -> dict[str, str]:
    """Return the commands of nox as typed after it, and where they stand."""
    return {PREFIX.sub("", one): at for one, at in SHOWN.items() if PREFIX.search(one)}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A copy of this project whose one contract is the docs' example."""
    project = Project(tmp_path_factory.mktemp("docs") / "project")
    (example,) = (block for block in PYTHON if EXAMPLE in block.text)
    names = "from harness.inspectors import Inspector\nfrom stores import MemoryStore\n"
    text = contracts(names + 'HELLO = Message("user", "hello")\n' + example.text)
    project.write_contracts(text)
    (project.folder / "docs").mkdir()
    (project.folder / "tests").mkdir()
    yield project
    project.close()


@pytest.fixture(scope="module")
def listed(copy: Project) -> list[dict[str, object]]:
    """What `nox -l --json` lists."""
    printed = copy.nox("-l", "--json", "-s", *json_sessions(), **PLAIN).stdout
    sessions: list[dict[str, object]] = json.loads(printed)
    return sessions


def json_sessions() -> list[str]:
    """Return the names of all sessions, as the noxfile defines them."""
    text = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    return re.findall(r"^@nox\.session.*?^def (\w+)", text, re.MULTILINE | re.DOTALL)


def test_the_pages_show_commands() -> None:
    """Else the rest would say nothing."""
    assert len(SHOWN) > 15
    assert {"README.md"} < {page.name for page in PAGES}


@pytest.mark.parametrize("command", SHOWN, ids=str)
def test_every_command_is_known(command: str) -> None:
    """Each is run below, or checked, or named with the reason why not."""
    where = f"{SHOWN[command]}: `{command}`: it"
    if any(f"{command} ".startswith(f"{known} ") for known in OTHERS):
        return
    assert PREFIX.search(command), f"{where} needs a line in OTHERS of {__file__}"
    typed = PREFIX.sub("", command)
    if typed in RUN:
        return
    unknown = set(Nox.of(typed).names) - set(CHECKED)
    assert not unknown, f"{where} needs a line in RUN, or {unknown} in CHECKED, of {__file__}"


@pytest.mark.parametrize("command", RUN)
def test_cheap_commands_do_what_they_say(copy: Project, command: str) -> None:
    """They are run word for word."""
    assert command in nox_commands(), f"no page shows `{command}` any more"
    done = copy.nox(*shlex.split(command)[1:], **PLAIN)
    assert RUN[command] in done.stdout, done.stdout
    assert done.returncode == (1 if command == "nox -s report" else 0), done.stdout


@pytest.mark.parametrize("command", [one for one in nox_commands() if one not in RUN])
def test_the_other_commands_are_valid(
    copy: Project, listed: list[dict[str, object]], command: str
) -> None:
    """Nox knows their sessions and tags; their options are known, and name what there is."""
    nox = Nox.of(command)
    names = {str(one[key]) for one in listed for key in ("name", "session")}
    tags = {tag for one in listed for tag in one["tags"]}  # type: ignore[attr-defined] # a list
    assert set(nox.sessions) <= names
    assert set(nox.tags) <= tags
    assert set(nox.others) <= {"-l", "--json"}
    found = asked([*nox.sessions, "--", *nox.after])
    unread = [word for word in found.options.for_pytest if re.match("--[^=]+$", word)]
    assert nox.names == ["leaks"] or not unread
    if nox.names == ["leaks"]:
        assert leaks._chosen(leaks._options(nox.after))
    elif nox.names == ["bench"]:
        bench._options(nox.after)
    elif nox.names in (["up"], ["down"], ["compose"]):
        assert set(nox.after) <= set(load().cells)
    elif nox.names == ["report"]:
        helped = copy.run(sys.executable, "-m", "harness.report", "--help").stdout
        assert all(word in helped for word in nox.after if word.startswith("-"))


def test_what_is_not_run_has_a_use() -> None:
    """No line of the tables is about something that is there no more."""
    assert set(CHECKED) - {"-l", "-t"} <= set(json_sessions())
    for known in OTHERS:
        assert any(f"{command} ".startswith(f"{known} ") for command in SHOWN)
