"""Stores of one's own: where they come from, what they offer, and what is said of broken ones."""

from __future__ import annotations

import ast
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.contracts import contract
from harness.docs import contracts as all_contracts
from harness.inspectors.through import ThroughStore
from harness.matrix import load
from harness.opening import load_factory
from harness.own_stores import environment, folders, packages, row_of, with_stores
from harness.tables import MatrixError
from stores import AsyncMemoryStore, MemoryStore, NotSupported
from tests.project import ROOT, SUITE, Project, contracts

CELL = "redis6_aof_always_noeviction"
WHOLE = """
import time
from subjects.in_memory import InMemory

class Whole(InMemory):
    pass

class Unfinished(InMemory):
    features = frozenset({"history", "ttl"})

class Refusing(InMemory):
    def __init__(self, url, **options):
        raise RuntimeError(f"no such scheme: {url},\\nand more of it")

class Hanging(InMemory):
    def __init__(self, url, **options):
        time.sleep(3600)

class Deaf(InMemory):
    def get_history(self, *arguments):
        time.sleep(3600)

class Strange(InMemory):
    features = frozenset({"history", "vectors"})
    set_ttl = get_ttl = None

def unfinished(url, **options):
    return Unfinished(url, **options)

def nothing(url, **options):
    return {}
"""
LEAKY = """
from stores.redis import RedisStore

class Leaky(RedisStore):
    def close(self):
        pass
"""
CONTRACTS = contracts("""
@contract("conv-1")
@needs("history")
def test_history(store):
    store.append_message("s", Message("user", "hello"))

@contract("ctx-1")
@needs("context")
def test_context(store):
    store.save_context("s", {})

@contract("con-7")
@needs("tasks")
def test_tasks(store):
    store.ping()

@contract("val-5")
@needs("raw_records")
def test_records(store):
    store.ping()
""")
BROKEN = {
    "of no module": (
        "their_memory:Whole",
        (
            "the store their_memory:Whole cannot be loaded: No module named 'their_memory'; "
            "--with says where it is: a folder, or a requirement as for pip"
        ),
    ),
    "of no name": (
        "my_memory:Hole",
        "the store my_memory:Hole cannot be loaded: module 'my_memory' has no attribute 'Hole'",
    ),
    "with a method missing": (
        "my_memory:Unfinished",
        "the store my_memory:Unfinished lacks get_ttl, set_ttl",
    ),
    "with a method missing, by a function": (
        "my_memory:unfinished",
        (
            f"the store my_memory:unfinished in {CELL} cannot be opened: TypeError: Can't "
            "instantiate abstract class Unfinished with"
        ),
    ),
    "that raises": (
        "my_memory:Refusing",
        (
            f"the store my_memory:Refusing in {CELL} cannot be opened: RuntimeError: no such "
            "scheme: redis://:***@127.0.0.1:"
        ),
    ),
    "that hangs when it is opened": (
        "my_memory:Hanging",
        f"the store my_memory:Hanging in {CELL}: opening it has not ended after 1 s",
    ),
    "that hangs when it is used": (
        "my_memory:Deaf",
        f"the store my_memory:Deaf in {CELL}: get_history has not ended after 1 s",
    ),
    "with a part that is none": (
        "my_memory:Strange",
        (
            f"the store my_memory:Strange in {CELL} has the features vectors; allowed: context, "
            "history, lock, sessions, ttl"
        ),
    ),
    "that is none": (
        "my_memory:nothing",
        "my_memory:nothing gave a dict, which is neither a MemoryStore nor an AsyncMemoryStore",
    ),
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project with a few contracts, and stores in a folder beside it."""
    folder = tmp_path_factory.mktemp("own")
    copy = Project(folder / "project")
    copy.write_contracts(CONTRACTS)
    (folder / "agent").mkdir()
    (folder / "agent" / "my_memory.py").write_text(WHOLE, encoding="utf-8")
    trial = copy.folder / "contract_tests" / "fix_trial.py"
    text = trial.read_text(encoding="utf-8")
    assert text.count("LONGEST_SECONDS = 20.0") == 1
    trial.write_text(text.replace("LONGEST_SECONDS = 20.0", "LONGEST_SECONDS = 1.0"), "utf-8")
    yield copy
    copy.close()


@contract("hyg-4")
@pytest.mark.parametrize("store", BROKEN)
def test_a_store_that_cannot_be_used_is_one_line(shared: Project, store: str) -> None:
    """What is wrong with which store, once and before any contract; exit not 0."""
    factory, said = BROKEN[store]
    ended = run(shared, "--store", factory, "--with", "../agent")
    told = [line for line in ended.stdout.splitlines() if line.strip()]
    assert ended.returncode != 0
    assert told[0].startswith(f"ERROR: {said}"), ended.stdout
    assert len(told) == 1, ended.stdout
    if "cannot be opened" in said:
        assert told[0].endswith(
            "; it got a redis:// URL (--backend says whose server a store is for)"
        )


def test_a_store_says_itself_what_it_offers(shared: Project) -> None:
    """By its attribute `features`; that it blocks shows; records are nobody else's to look at."""
    ended = run(shared, "--store", "my_memory:Whole", "--with", "../agent", "-rs")
    assert ended.returncode == 0, ended.stdout
    assert "1 passed, 3 skipped" in ended.stdout
    for reason in (
        "the store does not offer context",
        "the store blocks: it has neither event loops nor tasks",
        "the harness does not know how the store lays out its records",
    ):
        assert reason in ended.stdout


@contract("hyg-4")
def test_nothing_is_run_for_a_factory_that_cannot_be_loaded(shared: Project) -> None:
    """The session of the environment says so, before any cell begins."""
    ended = shared.nox("-s", f"matrix({CELL})", "--", "--store", "their_memory:Whole")
    assert ended.returncode != 0
    assert "the store their_memory:Whole cannot be loaded: No module named" in ended.stdout
    assert "-m pytest" not in ended.stdout


@contract("hyg-4")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--store", "my memory:Store"), "--store takes a name or package.module:callable, not"),
        (("--with", "../nowhere"), "--with ../nowhere: there is no such folder"),
        (("--store", "a:b", "--backend", "mongo"), "argument --backend: invalid choice: 'mongo'"),
    ],
)
def test_a_wrong_word_is_one_line(shared: Project, words: tuple[str, ...], said: str) -> None:
    """What is wrong, and what is allowed."""
    ended = shared.nox("-s", "matrix", "--", *words)
    assert ended.returncode != 0
    assert ended.stdout.startswith(said), ended.stdout
    assert len(ended.stdout.splitlines()) == 1


@contract("hyg-4")
def test_a_store_that_leaves_connections_is_told(project: Project) -> None:
    """By the contract of connections, which counts them on the server."""
    name = "test_connections.py"
    shutil.copy2(ROOT / "contract_tests" / name, project.folder / "contract_tests" / name)
    (project.folder / "leaky.py").write_text(LEAKY, encoding="utf-8")
    ended = run(project, "--store", "leaky:Leaky.from_url", "-k", "leak_connections")
    assert ended.returncode == pytest.ExitCode.TESTS_FAILED, ended.stdout
    assert "close() has left some" in ended.stdout


def test_a_missing_method_is_found_without_calling_the_factory() -> None:
    """Of a class and of a class method."""
    with pytest.raises(MatrixError, match="lacks append_message, append_messages, "):
        load_factory("stores:MemoryStore")


def test_what_is_asked_for_becomes_a_row() -> None:
    """A store, a subject, a factory with its backend; of other names nothing is made."""
    matrix = load()
    assert row_of(matrix, "RedisStore") == matrix.stores["RedisStore"]
    assert row_of(matrix, "LangchainRedis") == matrix.subjects["LangchainRedis"]
    assert row_of(matrix, "nowhere") is None
    own = row_of(matrix, "my_agent.memory:Store.from_url", "postgres")
    assert own
    assert (own.factory, own.backend, own.raw_records) == (own.name, "postgres", False)
    assert not {*matrix.subjects} & {*matrix.stores}, "subjects run only where they are asked for"
    more = with_stores(matrix, ["LangchainRedis", own.name, "nowhere"], "postgres")
    assert {*more.stores} - {*matrix.stores} == {"LangchainRedis", own.name}


def test_what_a_store_needs_is_installed_apart(tmp_path: Path) -> None:
    """A project in place, a requirement as it is, a plain folder not at all, but on the path."""
    plain, project = tmp_path / "plain", tmp_path / "project"
    for folder in (plain, project):
        folder.mkdir()
    (project / "pyproject.toml").write_text("[project]", encoding="utf-8")
    with_ = [str(plain), str(project), "redis<8"]
    subject = load().subjects["LangchainRedis"]
    wanted = packages([subject], with_)
    assert wanted == [*subject.requires, "-e", str(project), "redis<8"]
    assert folders(with_) == [str(plain)]

    matrix = with_stores(load(), [subject.name])
    assert environment(matrix, ["RedisStore"], [str(plain)]).name == "env", "nothing to install"
    own = environment(matrix, [subject.name], with_)
    assert (own.packages, own.foreign) == (wanted, [subject.factory])
    name = own.name
    assert name == environment(matrix, [subject.name], with_).name != "env"
    (project / "pyproject.toml").write_text("[project] # with another package", encoding="utf-8")
    assert own.name != name, "what the project needs may have changed"


def test_contracts_that_look_at_records_say_so() -> None:
    """Else they would break where a store's own layout is unknown, instead of not applying."""
    folder = ROOT / "contract_tests"
    unknown = {name for name, method in vars(ThroughStore).items() if refuses(method)}
    assert {"plant_message", "delete_message", "owner_of"} <= unknown
    excused = {
        one.place for one in all_contracts(folder) if {"raw_records", "sweeper"} & {*one.needs}
    }
    silent = []
    for path in folder.glob("test_*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            used = {part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)}
            place = f"{path.name}::{getattr(node, 'name', '')}"
            if "::test_" in place and used & unknown and place not in excused:
                silent.append(place)
    assert not silent


def refuses(method: object) -> bool:
    """Tell whether a method of the inspector only refuses."""
    code = getattr(method, "__code__", None)
    return code is not None and "_refuse" in code.co_names


def test_calls_that_a_store_does_not_offer_are_refused() -> None:
    """Without a word of its own, in both faces; a part that it offers it must have."""

    class Part(MemoryStore):
        features = frozenset({"history"})

    class AsyncPart(AsyncMemoryStore):
        features = frozenset({"history"})

    missing = {"append_message", "append_messages", "close", "get_history", "load_session", "ping"}
    for kind in (Part, AsyncPart):
        assert kind.__abstractmethods__ == missing
        for call in ("save_context", "set_ttl", "lock", "iter_sessions"):
            with pytest.raises(NotSupported, match=f"has no {call}: it does not offer "):
                getattr(kind, call)(object())


def run(project: Project, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the contracts in a cell."""
    return project.run(*SUITE, "--cell", CELL, "--provider", "embedded", *words)
