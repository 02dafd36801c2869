"""What README and docs show: links lead somewhere, code blocks are valid and do what they say."""

from __future__ import annotations

import ast
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from contract_tests import conftest
from harness.backends import backend
from harness.matrix import PATH, Matrix, _matrix, load
from harness.servers.fake import FakeServer
from harness.tables import MatrixError, Table
from stores.redis import RedisStore
from tests.pages import PAGES, Block, anchors, blocks, links
from tests.project import ROOT, SUITE, Project, contracts

TOML, PYTHON = blocks("toml"), blocks("python", "py")
STORE_URL = "redis://localhost:6379/0"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """To a file that is there, and to a heading that it has. Other sites are not asked."""
    for link in links(page):
        name, _, anchor = link.partition("#")
        if "://" in link:
            continue
        target = page.parent / name if name else page
        assert target.exists(), f"{page.name}: {link}: there is no such file"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{page.name}: {link}: there is no such heading"


def test_every_page_is_found_from_the_readme() -> None:
    """By links, however many steps."""
    found, todo = set[Path](), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in found or page.suffix != ".md":
            continue
        found.add(page)
        todo += [(page.parent / link.partition("#")[0]).resolve() for link in links(page)]
    assert set(PAGES) <= found


@pytest.mark.parametrize("block", TOML, ids=str)
def test_toml_is_a_valid_piece_of_the_matrix(block: Block) -> None:
    """Put into matrix.toml, where it says or in some backend, it loads, and changes something."""
    piece = tomllib.loads(block.text)
    whole = tomllib.loads(PATH.read_text(encoding="utf-8"))
    tables = [piece, *({"backends": {name: piece}} for name in whole["backends"])]
    faults = []
    for table in tables:
        try:
            assert merged(whole, table) != load()
        except MatrixError as error:
            faults.append(str(error))
        else:
            return
    pytest.fail(f"{block} fits nowhere in matrix.toml: {faults}")


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_python_compiles(block: Block) -> None:
    """As it stands."""
    compile(block.text, str(block), "exec")


def test_the_stores_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """The README's first lines of Python do what they say, on a server of a test's own."""
    block = only(block for block in PYTHON if STORE_URL in block.text)
    server = FakeServer(load().cell("fakeredis7"), backend("redis"))
    server.start()
    try:
        names: dict[str, Any] = {}
        exec(block.text.replace(STORE_URL, server.url), names)  # noqa: S102 - our own page
        with RedisStore.from_url(server.url, namespace="agents") as store:
            assert [one.content for one in store.get_history("user:1")] == ["my number is 555-0199"]
            assert store.load_context("user:1") is not None
    finally:
        server.remove()
    assert names["session"] is not None
    assert not capsys.readouterr().out


def test_the_contract_examples_run(project: Project) -> None:
    """Each passes on every store of the fast lane, by itself."""
    shown = [block for block in PYTHON if "@contract(" in block.text]
    assert shown
    for block in shown:
        project.write_contracts(contracts(EXAMPLE_NAMES + block.text))
        done = project.run(*SUITE, "--cell", "fakeredis7")
        assert done.returncode == 0, done.stdout
        assert f"{2 * len(functions_of(block))} passed" in done.stdout


def test_the_contract_examples_can_fail(project: Project) -> None:
    """On a store that loses what it is told, they are red."""
    (block,) = (block for block in PYTHON if "@contract(" in block.text)
    project.write_contracts(contracts(EXAMPLE_NAMES + block.text))
    path = project.folder / "stores" / "plans.py"
    path.write_text(path.read_text(encoding="utf-8") + FORGETFUL, encoding="utf-8")
    done = project.run(*SUITE, "--cell", "fakeredis7")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout


def test_the_mutant_examples_are_mutants() -> None:
    """They stand in mutants/ word for word, and so `nox -s leaks` runs them."""
    shown = [block for block in PYTHON if "@mutant(" in block.text]
    sources = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob("mutants/*.py"))
    assert shown
    for block in shown:
        assert block.text.strip() in sources, f"{block}: no file of mutants/ has it"


def test_the_fixtures_in_the_docs_are_there() -> None:
    """Those that docs/adding-a-contract.md offers are fixtures of the suite."""
    page = (ROOT / "docs" / "adding-a-contract.md").read_text(encoding="utf-8")
    table = page.partition("| fixture |")[2].partition("\n\n")[0]
    offered = [line.split("`")[1] for line in table.splitlines() if line.startswith("| `")]
    files = [ROOT / f"{name.replace('.', '/')}.py" for name in conftest.pytest_plugins]
    there = {
        node.name
        for path in files
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
        and "fixture" in "".join(map(ast.unparse, node.decorator_list))
    }
    assert offered
    assert set(offered) <= there


def test_rooms_keep_their_direction(tmp_path: Path) -> None:
    """An import from the wrong side is refused by what `nox -s lint` runs."""
    run = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", run, "--no-cache"]
    project = Project(tmp_path / "project")
    try:
        assert project.run(*command).returncode == 0
        for room, wrong in (("stores", "harness.matrix"), ("harness", "contract_tests.calls")):
            path = project.folder / room / "errors.py"
            kept = path.read_text(encoding="utf-8") if path.exists() else ""
            path.write_text(f"{kept}\nimport {wrong}\n", encoding="utf-8")
            done = project.run(*command)
            assert done.returncode == 1, done.stdout
            assert f"{room}.errors -> {wrong}" in done.stdout
            path.write_text(kept, encoding="utf-8")
    finally:
        project.close()


EXAMPLE_NAMES = """
from harness.inspectors import Inspector
from stores import MemoryStore
HELLO = Message("user", "hello")
"""
FORGETFUL = """

def _forgetful(self, *args, **kwargs):
    return []
    yield

Plans.get_history = _forgetful
"""


def merged(whole: dict[str, Any], piece: dict[str, Any]) -> Matrix:
    """Return the matrix with a piece of TOML in it."""
    return _matrix(Table(_joined(whole, piece), ""))


def _joined(whole: dict[str, Any], piece: dict[str, Any]) -> dict[str, Any]:
    joined = dict(whole)
    for key, value in piece.items():
        before = joined.get(key)
        joined[key] = _joined(before, value) if isinstance(before, dict) else value
    return joined


def functions_of(block: Block) -> list[str]:
    """Return the names of the test functions in a block."""
    body = ast.parse(block.text).body
    return [node.name for node in body if isinstance(node, ast.FunctionDef)]


def only(found: Any) -> Block:
    """Return the only one there is."""
    (block,) = found
    assert isinstance(block, Block)
    return block
