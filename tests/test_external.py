"""The external provider: whom it refuses, what it leaves alone, and what it never does."""

from __future__ import annotations

import re
import shlex
import signal
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from redis import Redis

from harness.backends import backend
from harness.backends.tenants import MARKER, postgres, redis
from harness.capabilities import CAPABILITIES
from harness.contracts import contract
from harness.options import URL_VARIABLE
from harness.polling import eventually
from harness.servers import StartError
from harness.servers.external import HARM, HARMLESS, ExternalServer
from tests.forwarding import TlsDoor
from tests.prepared import (
    MATRIX,
    POSTGRES,
    REDIS,
    Prepared,
    all_of_postgres,
    all_of_redis,
    prepared,
    settle_others_in_postgres,
    settle_others_in_redis,
)
from tests.project import ROOT, SUITE, Project, contracts
from tests.runs import PASSES, WAITS

FAILS = contracts("""
from urllib.parse import urlsplit

@contract("conv-1")
def test_passes(store, opening):
    print(opening.url)
    assert opening.url == urlsplit(opening.url).password, opening
""")
pytestmark = pytest.mark.timeout(180)  # several runs in one test, on a busy machine
SECRET = "pa55-w0rd-of-others"
READS = {"hello", "client", "ping", "exists", "info", "auth", "command", "acl"}
NO_URL = "this is no URL of one server; in a password, all but letters and digits as %XX"
WRONG = {
    "http://db.example/": "its server's URL begins with redis:// or rediss://",
    "postgresql://u:{}@127.0.0.1/db": "its server's URL begins with redis:// or rediss://",
    "redis://:{}@/0": "the URL must name one host, as redis://HOST:PORT/…",
    "redis://:{}@a:1,b:2/0": NO_URL,
    "redis://:{}/x@127.0.0.1:6379/0": NO_URL,
    "redis://:{}@127.0.0.1:1/0": "the server at 127.0.0.1:1 cannot be used: ",
    "redis://:{}@nowhere.invalid/0": "the server at nowhere.invalid:6379 cannot be used: ",
    "unix:///run/redis.sock": "its server's URL begins with redis:// or rediss://",
    "": f"--provider external needs the server's URL, by --url or {URL_VARIABLE}",
}


@pytest.fixture(scope="module")
def a_redis() -> Iterator[Prepared]:
    """A Redis that is disposable."""
    with prepared(REDIS.id) as one:
        yield one


@pytest.fixture(scope="module")
def a_postgres() -> Iterator[Prepared]:
    """A Postgres that is disposable."""
    with prepared(POSTGRES.id) as one:
        yield one


def refusal(url: str, monkeypatch: pytest.MonkeyPatch, cell_id: str = REDIS.id) -> str:
    """Return what is said of a URL, on one line, without the cell's name."""
    monkeypatch.setenv(URL_VARIABLE, url)
    cell = MATRIX.cell(cell_id)
    with pytest.raises(StartError) as caught:
        ExternalServer(cell, backend(cell.backend)).start()
    said = str(caught.value)
    assert "\n" not in said
    assert SECRET not in said
    assert said.startswith(f"{cell_id}: ")
    return said.removeprefix(f"{cell_id}: ")


@contract("hyg-3")
@pytest.mark.parametrize("url", WRONG)
def test_a_wrong_url_is_answered_with_one_line(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong with it, and nothing of its password."""
    assert refusal(url.format(SECRET), monkeypatch).startswith(WRONG[url])


@contract("hyg-3")
@pytest.mark.parametrize("cell_id", ["redis6_cluster", "fakeredis7"])
def test_a_row_that_is_no_single_server_is_refused(
    cell_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A URL is one real server."""
    assert "a URL names one real server" in refusal("redis://127.0.0.1/", monkeypatch, cell_id)


@contract("hyg-3")
def test_a_wrong_password_is_told_without_it(
    a_redis: Prepared, a_postgres: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what the server said."""
    wrong = {one: one.url.replace(one.password, SECRET) for one in (a_redis, a_postgres)}
    assert "invalid username-password pair" in refusal(wrong[a_redis], monkeypatch)
    said = refusal(wrong[a_postgres], monkeypatch, POSTGRES.id)
    assert "password authentication failed" in said


@contract("hyg-3")
def test_another_server_than_the_row_is_refused_with_what_differs(
    a_redis: Prepared, a_postgres: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Version and settings, each as it is and as the row wants it."""
    said = refusal(a_redis.url, monkeypatch, "redis7_aof_always_noeviction")
    assert said.startswith("the server is not what its row in matrix.toml says: version is 6.2.14")
    assert "appendfsync is 'everysec', not 'always'; maxmemory-policy is 'allkeys-lru'" in said
    assert f"(the server at {urlsplit(a_redis.url).netloc.rpartition('@')[2]})" in said
    said = refusal(a_postgres.url, monkeypatch, "postgres16_durable_swept_serializable")
    assert "default_transaction_isolation is 'read committed', not 'serializable'" in said


@contract("hyg-3")
def test_a_redis_without_the_marker_is_refused_and_not_written_to(project: Project) -> None:
    """In one line that says how its owner marks it; the server has run nothing but reads."""
    project.write_contracts(PASSES)
    with prepared(REDIS.id, marked=False) as one:
        before = all_of_redis(one.url)
        with Redis.from_url(one.url) as client:
            client.config_resetstat()
        run = project.run(
            *(*SUITE, "--cell", REDIS.id, "--provider", "external"), **{URL_VARIABLE: one.url}
        )
        with Redis.from_url(one.url) as client:
            ran = {name.removeprefix("cmdstat_") for name in client.info("commandstats")}
        assert all_of_redis(one.url) == before
        place = one.url.rpartition("@")[2].partition("/")[0]
    assert run.returncode == pytest.ExitCode.USAGE_ERROR
    assert run.stdout.strip() == (
        f"ERROR: {REDIS.id}: the server at {place} cannot be used: it does not say that it is "
        "disposable, and nothing was written to it; its owner says so by: "
        f"redis-cli -h 127.0.0.1 -p {place.partition(':')[2]} SET {MARKER} yes"
    )
    assert ran - {"config|resetstat", "config"} <= READS, ran


@contract("hyg-3")
def test_a_postgres_without_the_marker_is_refused_and_not_written_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same; nothing in it has changed, and no transaction wrote."""
    with prepared(POSTGRES.id, marked=False) as one:
        settle_others_in_postgres(one.url)
        before, writes = all_of_postgres(one.server), _last_write(one.url)
        said = refusal(one.url, monkeypatch, POSTGRES.id)
        assert _last_write(one.url) == writes
        assert all_of_postgres(one.server) == before
    assert said.endswith(f"-U matrix -d matrix -c \"COMMENT ON DATABASE matrix IS '{MARKER}'\"")


@contract("hyg-3")
def test_a_server_that_cannot_take_it_is_refused(
    a_redis: Prepared, a_postgres: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica; too little memory left, so that keys of others might go; too few rights."""
    with Redis.from_url(a_redis.url) as client:
        client.config_set("maxmemory", "32mb")
        assert "its maxmemory leaves 3" in refusal(a_redis.url, monkeypatch)
        client.config_set("maxmemory", "96mb")
        client.replicaof("127.0.0.1", 1)
        assert "it is a replica, and takes no writes" in refusal(a_redis.url, monkeypatch)
        client.replicaof("NO", "ONE")
    with psycopg.connect(a_postgres.url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE humble LOGIN PASSWORD '{SECRET}'".encode())
        humble = a_postgres.url.replace(f"matrix:{a_postgres.password}", f"humble:{SECRET}")
        said = refusal(humble, monkeypatch, POSTGRES.id)
        connection.execute("DROP ROLE humble")
    assert "its user may not create the database in which a run works (CREATEDB)" in said


@contract("hyg-3")
def test_every_capability_is_judged() -> None:
    """A new one must be said to be harmless to a server of somebody else, or why it is not."""
    assert set(CAPABILITIES) == HARMLESS | set(HARM)
    assert not HARMLESS & set(HARM)


@contract("iso-1")
def test_all_contracts_leave_a_redis_as_it_was(project: Project) -> None:
    """Keys of others byte by byte, users, scripts and settings; and no key of ours is left."""
    with prepared(REDIS.id) as one:
        settle_others_in_redis(one.url)
        before = all_of_redis(one.url)
        ran = run_contracts(project, one, "RedisStore")
        assert all_of_redis(one.url) == before
    assert ran > 50


@contract("iso-1")
def test_contracts_leave_a_postgres_as_it_was(project: Project) -> None:
    """A dump of the others' database, expired sessions included; databases, users and settings."""
    with prepared(POSTGRES.id) as one:
        settle_others_in_postgres(one.url)
        before = all_of_postgres(one.server)
        chosen = "isolation or values or expired or concurrency or connections or context"
        ran = run_contracts(project, one, "PostgresStore", "-k", chosen)
        assert all_of_postgres(one.server) == before
    assert ran > 30


def run_contracts(project: Project, one: Prepared, store: str, *words: str) -> int:
    """Run the real contracts on a prepared server; return how many passed. All must."""
    (project.folder / "contract_tests").rename(project.folder / "without")
    (project.folder / "contract_tests").symlink_to(ROOT / "contract_tests")
    process = project.start(
        *(*SUITE, "--cell", one.cell.id, "--provider", "external", "--store", store, *words),
        **{URL_VARIABLE: one.url, "PYTEST_ADDOPTS": ""},
    )
    printed, _ = process.communicate(timeout=110)
    assert process.returncode == 0, printed[-3000:]
    assert one.password not in printed
    return int(printed.split(" passed")[0].split()[-1])


@contract("hyg-1")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_ends_early_leaves_no_database(
    project: Project, a_postgres: Prepared, how: signal.Signals
) -> None:
    """Ctrl-C deletes it; after SIGKILL the next run does, and that of a living run stays."""
    project.write_contracts(WAITS)
    (project.folder / "started").mkdir()
    process = project.start(
        *(*SUITE, "--cell", POSTGRES.id, "--provider", "external", "--store", "PostgresStore"),
        **{URL_VARIABLE: a_postgres.url},
    )
    waits = project.folder / "started" / POSTGRES.id
    assert eventually(waits.exists, within=30)
    assert len(databases(a_postgres)) == 1
    with closing(psycopg.connect(a_postgres.url)):
        other = postgres.PostgresTenant(a_postgres.url)
        other.move_in()
        assert len(databases(a_postgres)) == 2, "the living run's was removed"
        other.move_out()
    process.send_signal(how)
    process.communicate(timeout=30)
    if how is signal.SIGKILL:
        assert len(databases(a_postgres)) == 1
        other.move_in()
        other.move_out()
    assert databases(a_postgres) == []


@contract("hyg-2")
def test_no_password_gets_into_what_a_run_prints_or_keeps(
    project: Project, a_redis: Prepared
) -> None:
    """Neither that of --url, nor in nox's own lines, a failure, its replay or the reports."""
    project.write_contracts(FAILS)
    run = project.nox(
        *("-s", "matrix", "--", "--url", a_redis.url, "--cell", REDIS.id, "--seed", "7"),
        PYTEST_ADDOPTS="",
    )
    assert run.returncode == 1
    assert f"on the server at {a_redis.url.rpartition('@')[2].partition('/')[0]}" in run.stdout
    again = re.findall(r"^(?:nox > )?again +nox (.+)$", run.stdout, re.MULTILINE)
    assert again, run.stdout
    kept = [path for path in project.folder.rglob("*") if path.is_file()]
    assert project.reports / REDIS.id / "results.jsonl" in kept
    assert [path for path in kept if a_redis.password.encode() in path.read_bytes()] == []
    assert a_redis.password not in run.stdout
    project.write_contracts(PASSES)
    without = project.nox(*shlex.split(again[0]), PYTEST_ADDOPTS="")
    assert (
        f"--provider external needs the server's URL, by --url or {URL_VARIABLE}" in without.stdout
    )
    repeated = project.nox(
        *shlex.split(again[0]), **{URL_VARIABLE: a_redis.url, "PYTEST_ADDOPTS": ""}
    )
    assert repeated.returncode == 0, repeated.stdout


@contract("hyg-4")
def test_a_url_needs_its_row(project: Project) -> None:
    """One server is one cell; other providers start theirs. Each in one line, and nothing runs."""
    for words, said in (
        (["--url", "redis://127.0.0.1/"], "say which, with --cell ID"),
        (["--url", "redis://h/", "--provider", "docker"], "--url is a server that runs already"),
        (["--url", "redis://h/", "--cell", "redis8"], "there is no cell 'redis8'"),
    ):
        answered = project.nox("-s", "matrix", "--", *words)
        assert answered.returncode != 0
        assert said in answered.stdout.strip().splitlines()[-1]
        assert "Running session" not in answered.stdout


@contract("hyg-3")
@pytest.mark.parametrize("which", ["a_redis", "a_postgres"])
def test_an_encrypted_connection_is_used_and_not_read(
    which: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """TLS works; contracts with a proxy between do not run, with the reason."""
    one: Prepared = request.getfixturevalue(which)
    with closing(TlsDoor(one.url, tmp_path)) as front:
        monkeypatch.setenv(URL_VARIABLE, front.url)
        server = ExternalServer(one.cell, backend(one.cell.backend))
        server.start()
        try:
            assert "encrypted" in (server.cannot("network") or "")
            backend(one.cell.backend).check(server.url)
        finally:
            server.remove()


@contract("hyg-3")
def test_what_a_run_needs_of_memory_is_less_than_what_is_asked_for() -> None:
    """The least that is left of maxmemory covers the longest history that contracts plant."""
    with prepared("redis6_none_noeviction") as one, Redis.from_url(one.url) as client:
        inspector = backend("redis").inspector(one.url, "planted")
        before = client.info("memory")["used_memory"]
        inspector.plant_history("long", 100_000, b"x" * 200)
        assert client.info("memory")["used_memory"] - before < redis.NEEDED
        inspector.close()


def databases(one: Prepared) -> list[str]:
    """Return the names of the databases that runs made."""
    with psycopg.connect(one.url) as connection:
        rows = connection.execute(
            "SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [postgres.PREFIX]
        ).fetchall()
    return [name for (name,) in rows]


def _last_write(url: str) -> object:
    """Return the number of the next transaction that writes."""
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())").fetchone()
    return row and row[0]


def test_a_row_of_a_users_own_is_enough_for_their_server(
    a_redis: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server with more memory than the rows here is a cell of its own, by its settings."""
    with Redis.from_url(a_redis.url) as client:
        client.config_set("maxmemory", "128mb")
        cell = replace(REDIS, id="ours", settings={**REDIS.settings, "maxmemory": "128mb"})
        monkeypatch.setenv(URL_VARIABLE, a_redis.url)
        ExternalServer(cell, backend("redis")).start()
        client.config_set("maxmemory", "96mb")
