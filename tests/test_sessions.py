"""The sessions of nox: what they are called, and what they answer to wrong words."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from harness.contracts import contract
from harness.matrix import load
from harness.options import parse
from tests.project import Project

SESSIONS = {
    "env",
    "matrix",
    "smoke",
    "clients",
    "fast",
    "subjects",
    "tests",
    "lint",
    "report",
    "docs",
    "up",
    "down",
    "compose",
    "sweep",
}
WRONG = {
    "cell": (
        ["-s", "matrix(redis7_aof_alway_noeviction)"],
        "there is no cell 'redis7_aof_alway_noeviction'; there are 60 names, such as redis7_aof",
    ),
    "lane": (
        ["-s", "matrix", "--", "--lane", "quick"],
        "there is no lane 'quick'; there are mock, fast, smoke, drivers, pairwise, matrix",
    ),
    "store": (
        ["-s", "matrix", "--", "--store", "RedisStor"],
        "there is no store 'RedisStor'; there are RedisStore, AsyncRedisStore, ",
    ),
    "provider": (
        ["-s", "matrix", "--", "--provider", "podman"],
        "argument --provider: invalid choice: 'podman' (choose from ",
    ),
    "shard": (
        ["-s", "matrix", "--", "--shard", "4/3"],
        "argument --shard: must be NUMBER/COUNT, from 1/COUNT to COUNT/COUNT, not '4/3'; `nox -s ",
    ),
    "seed": (
        ["-s", "fast", "--", "--seed", "x"],
        "argument --seed: invalid int value: 'x'; `nox -s SESSION -- --help` explains the options",
    ),
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A copy of this project that no test changes."""
    copy = Project(tmp_path_factory.mktemp("sessions") / "project")
    yield copy
    copy.close()


def test_the_list_is_a_table_of_contents(shared: Project) -> None:
    """Every session has a description, and every cell of the lanes is there by its id."""
    listed = json.loads(shared.nox("-l", "--json", "-s", *SESSIONS).stdout)
    assert {session["name"] for session in listed} == SESSIONS
    assert not [session["name"] for session in listed if not session["description"]]
    cells = [s["call_spec"]["cell"] for s in listed if s["name"] == "matrix"]
    assert sorted(cells) == sorted(cell.id for cell in load().lane("matrix"))


def test_a_tag_selects_each_cell_once(shared: Project) -> None:
    """The cells of `smoke` are those of `matrix`: a tag must not run them twice at once."""
    listed = json.loads(shared.nox("-l", "--json", "-t", "postgres16").stdout)
    cells = [session["call_spec"]["cell"] for session in listed if session["call_spec"]]
    assert len(cells) == len(set(cells))
    assert all(cell.startswith("postgres16_") for cell in cells)


def test_a_store_selects_the_cells_that_run_it(shared: Project) -> None:
    """Cells of other servers are not in the way."""
    words = ("-l", "--json", "-s", "matrix", "--", "--store", "PostgresStore")
    listed = json.loads(shared.nox(*words).stdout)
    cells = {session["call_spec"]["cell"] for session in listed if session["name"] == "matrix"}
    assert cells == {cell.id for cell in load().lane("matrix") if cell.backend == "postgres"}


def test_shards_list_each_cell_once(shared: Project) -> None:
    """`nox -l -- --shard` shows what each of several machines would run."""
    found = []
    for shard in ("1/3", "2/3", "3/3"):
        words = ("-l", "--json", "-s", "matrix", "--", "--shard", shard)
        listed = json.loads(shared.nox(*words).stdout)
        found += [session["call_spec"]["cell"] for session in listed if session["name"] == "matrix"]
    assert sorted(found) == sorted(cell.id for cell in load().lane("matrix"))


@pytest.mark.parametrize("session", ["fast", "matrix"])
def test_an_empty_shard_says_so(shared: Project, session: str) -> None:
    """Its cells are in the other shards: nothing is missing, and nothing fails."""
    ran = shared.nox("-s", session, "--", "--lane", "fast", "--shard", "2/2")
    assert ran.returncode == 0, ran.stdout
    assert "shard 2/2 is empty: others have the cells" in ran.stdout


def test_help_explains_once(shared: Project) -> None:
    """`nox -s matrix -- --help` explains the options, and runs nothing."""
    helped = shared.nox("-s", "matrix", "--", "--help")
    assert helped.returncode == 0
    assert helped.stdout.count("usage: nox -s SESSION --") == 1
    for option in ("--shard", "--provider", "--store", "--seed", "--strict", "--lane", "-k"):
        assert option in helped.stdout
    assert "Running session" not in helped.stdout


def test_the_report_explains_its_own_options(shared: Project) -> None:
    """`nox -s report -- --help` is about the report, not about running cells."""
    helped = shared.nox("-s", "report", "--no-install", "--", "--help")
    assert helped.returncode == 0, helped.stdout
    assert "usage: nox -s report --" in helped.stdout
    assert "--open" in helped.stdout
    assert "--provider" not in helped.stdout


@contract("hyg-4")
@pytest.mark.parametrize("word", WRONG)
def test_a_wrong_word_is_answered_with_one_line(shared: Project, word: str) -> None:
    """What is wrong, and what is allowed; exit not 0, and nothing runs."""
    words, said = WRONG[word]
    answered = shared.nox(*words)
    assert answered.returncode == (2 if said.startswith("argument") else 1)
    assert answered.stdout.startswith(said), answered.stdout
    assert len(answered.stdout.splitlines()) == 1


@contract("hyg-4")
@pytest.mark.parametrize("words", [["-l"], ["-s", "fast"], ["-s", "matrix"]])
def test_a_broken_matrix_is_answered_with_one_line(project: Project, words: list[str]) -> None:
    """Whatever is asked of nox: the file, the key, what is wrong, what is allowed."""
    project.change_matrix('restart = "loses_all", kill = "loses_all"', 'kill = "loses_most"')
    answered = project.nox(*words)
    assert answered.returncode == 1
    assert answered.stdout == (
        "matrix.toml: [backends.redis.persistence.none.promises] kill: must be one of keeps_all, "
        "loses_tail, loses_since_snapshot, loses_all, none, not 'loses_most'\n"
    )


@contract("hyg-4")
def test_a_missing_matrix_is_answered_with_one_line(project: Project) -> None:
    """The file, and that it cannot be read."""
    (project.folder / "matrix.toml").unlink()
    answered = project.nox("-s", "fast")
    assert answered.returncode == 1
    assert answered.stdout == "matrix.toml: cannot be read: No such file or directory\n"


def test_options_reach_the_suite() -> None:
    """What is not for the noxfile goes on to pytest, 0 as a seed included."""
    words = ["--lane", "fast", "--seed", "0", "--store", "A", "--store", "B", "-x", "-k"]
    options = parse([*words, "a b"])
    assert options.lane == "fast"
    assert options.stores == ["A", "B"]
    assert options.for_pytest == [
        "--store=A",
        "--store=B",
        "--seed=0",
        "--hypothesis-seed=0",
        "-k",
        "a b",
        "-x",
    ]


def test_ci_makes_a_run_strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """CI=true is --strict."""
    for word, strict in (("true", True), ("1", True), ("", False), ("false", False)):
        monkeypatch.setenv("CI", word)
        assert parse([]).strict is strict
        assert parse(["--strict"]).strict
