"""Faults of a whole server: each is real while it lasts, and nothing of it is left after it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any, cast

import psutil
import psycopg
import pytest
from redis import Redis, exceptions

from harness.backends import Backend, backend
from harness.faults.disk import fault
from harness.faults.freeze import paused
from harness.faults.states import States
from harness.faults.truncation import cut_tail
from harness.matrix import STANDALONE, load
from harness.polling import eventually
from harness.providers import provide
from harness.servers import OneServer
from harness.servers.embedded import EmbeddedServer
from harness.servers.engine import daemon_fault

REDIS = "redis6_aof_always_noeviction"
SNAPSHOTS = "redis6_rdb_allkeys_lru"
REDIS_7 = "redis7_aof_always_noeviction"
POSTGRES = "postgres16_durable_lazy_read_committed"
LITTLE = 64 * 1024


class InterruptedInTheMiddle(BaseException):
    """As Ctrl-C is, somewhere in a contract."""


@pytest.fixture(scope="module")
def servers() -> Iterator[Callable[[str], tuple[OneServer, Backend]]]:
    """Start servers by their cells, each once."""
    started: dict[str, tuple[OneServer, Backend]] = {}

    def of(cell_id: str) -> tuple[OneServer, Backend]:
        if cell_id not in started:
            matrix = load()
            cell = matrix.cell(cell_id)
            software = backend(cell.backend)
            if software.find_program(cell.image.version):
                server: OneServer = EmbeddedServer(cell, software)
            elif daemon_fault():
                pytest.skip(f"{cell_id}: {daemon_fault()}")
            else:
                server = cast("OneServer", provide(cell, software, "docker", matrix.registry))
                if server.cannot("server_states"):
                    pytest.skip(f"{server.cannot('server_states')}")
            started[cell_id] = server, software
            server.start()
        return started[cell_id]

    yield of
    for server, software in started.values():
        software.close()
        server.remove()


@pytest.fixture
def redis(servers: Callable[[str], tuple[OneServer, Backend]], cell: str) -> Iterator[Any]:
    """A client of the server."""
    server, _ = servers(cell)
    with closing(Redis.from_url(server.url, socket_timeout=20, protocol=2)) as client:
        yield client


@pytest.fixture
def states(servers: Callable[[str], tuple[OneServer, Backend]], cell: str) -> States:
    """What can be done to the server."""
    server, software = servers(cell)
    return software.states(server)


def configuration(client: Any) -> dict[str, str]:
    """Return all settings."""
    return dict(client.config_get("*"))


REFUSALS = {
    "READONLY": (exceptions.ReadOnlyError, "set"),
    "NOREPLICAS": (exceptions.ResponseError, "set"),
    "MASTERDOWN": (exceptions.ClusterDownError, "get"),
    "BUSY": (exceptions.ResponseError, "get"),
    "MISCONF": (exceptions.ResponseError, "set"),
    "LOADING": (exceptions.BusyLoadingError, "get"),
}


@pytest.mark.parametrize("cell", [REDIS, SNAPSHOTS, REDIS_7])
@pytest.mark.parametrize("ends", ["ends", "interrupted"])
def test_each_state_of_redis_is_real_and_leaves_nothing(
    states: States,
    redis: Any,
    servers: Callable[[str], tuple[OneServer, Backend]],
    cell: str,
    ends: str,
) -> None:
    """Redis refuses with the state's code, and is as it was after it: data, settings and files."""
    redis.set("kept", "value")
    before, files = configuration(redis), {path.name for path in servers(cell)[0].data.iterdir()}
    names = []
    for round_ in states.rounds():
        with closing(round_), suppress(InterruptedInTheMiddle):
            for state in round_:
                names.append(state)
                error, command = REFUSALS[state]
                with pytest.raises(error):
                    redis.execute_command(command, "kept", *["other"][: command == "set"])
                if ends == "interrupted":
                    raise InterruptedInTheMiddle
        assert redis.get("kept") == b"value"
        redis.set("written", names[-1])
        assert redis.role()[0] == b"master"
        assert configuration(redis) == before
        assert {path.name for path in servers(cell)[0].data.iterdir()} == files
    assert tuple(names) == servers(cell)[1].state_names(STANDALONE)


SAID = {
    "read-only": "read-only transaction",
    "shutting down": "the database system is shutting down",
    "starting up": "the database system is starting up",
    "standby": "read-only transaction",
}


@pytest.mark.parametrize("cell", [POSTGRES])
@pytest.mark.parametrize("interrupted_in", ["", *SAID])
def test_each_state_of_postgres_is_real_and_leaves_nothing(
    states: States,
    servers: Callable[[str], tuple[OneServer, Backend]],
    cell: str,
    interrupted_in: str,
) -> None:
    """Postgres refuses with the state's words, and is as it was: data, settings and files."""
    server, _ = servers(cell)

    def ask(query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(server.url, autocommit=True) as connection:
            cursor = connection.execute(query.encode())
            return cursor.fetchall() if cursor.description else []

    changed = "SELECT name FROM pg_settings WHERE sourcefile LIKE '%auto.conf'"
    ask("CREATE TABLE IF NOT EXISTS kept (n int)")
    ((rows,),) = ask("SELECT count(*) FROM kept")
    assert ask(changed) == []
    names = []
    for round_ in states.rounds():
        with closing(round_), suppress(InterruptedInTheMiddle):
            for state in round_:
                names.append(state)
                with pytest.raises(psycopg.Error, match=SAID[state]):
                    ask("INSERT INTO kept VALUES (1)")
                if state == interrupted_in:
                    raise InterruptedInTheMiddle
        ask("INSERT INTO kept VALUES (1)")
        rows += 1
        assert ask("SELECT count(*) FROM kept") == [(rows,)]
        assert ask("SELECT pg_is_in_recovery()") == [(False,)]
        assert ask(changed) == []
        (data,) = server.data.glob("*/PG_VERSION")
        assert not [*data.parent.glob("*.signal"), *data.parent.glob("hold*")]
    if not interrupted_in:
        assert tuple(names) == servers(cell)[1].state_names(STANDALONE)


@pytest.mark.parametrize("cell", [REDIS, POSTGRES])
def test_one_state_can_be_held(
    states: States, servers: Callable[[str], tuple[OneServer, Backend]], cell: str
) -> None:
    """A contract can name the one state that it needs."""
    server, software = servers(cell)
    name = software.state_names(STANDALONE)[-1]
    with states.hold(name):
        pass
    software.check(server.url)


def fill(redis: Any) -> None:
    """Write many times what the limit leaves."""
    for number in range(1000):
        redis.set(f"filler {number}", "x" * 4096)


@pytest.mark.parametrize("cell", [REDIS])
@pytest.mark.parametrize("ends", ["ends", "interrupted"])
def test_a_memory_limit_refuses_and_is_put_back(states: States, redis: Any, ends: str) -> None:
    """Within the limit writes are refused at last; after it the settings are as before."""
    before = configuration(redis)
    with suppress(InterruptedInTheMiddle), states.memory_limit(LITTLE):
        with pytest.raises(exceptions.OutOfMemoryError):
            fill(redis)
        if ends == "interrupted":
            raise InterruptedInTheMiddle
    assert configuration(redis) == before
    redis.set("filler 0", "x" * LITTLE)
    redis.flushdb()


@pytest.mark.parametrize("cell", [SNAPSHOTS])
def test_what_is_aged_is_forgotten_first(states: States, redis: Any) -> None:
    """Of one namespace, and no other: its keys' idle times and the time they have left."""
    redis.flushdb()
    redis.set("{2:ns:a}:session", "x" * LITTLE, ex=600)
    redis.set("{2:ns:b}:session", "x" * LITTLE)
    redis.set("{5:other:a}:session", "x" * LITTLE)
    states.age("ns", 500)
    assert redis.object("idletime", "{2:ns:a}:session") == 500
    assert redis.object("idletime", "{5:other:a}:session") < 100
    assert 0 < redis.ttl("{2:ns:a}:session") <= 100
    assert redis.ttl("{2:ns:b}:session") == -1
    with states.memory_limit(-LITTLE // 2):
        assert eventually(lambda: redis.dbsize() < 3)
    assert redis.exists("{5:other:a}:session")
    redis.flushdb()


@pytest.mark.parametrize("cell", [REDIS, POSTGRES])
@pytest.mark.parametrize("ends", ["ends", "interrupted"])
def test_a_full_disk_has_space_again(
    states: States, servers: Callable[[str], tuple[OneServer, Backend]], cell: str, ends: str
) -> None:
    """The server that needs its disk ends or refuses while it is full, and serves again after."""
    if fault():
        pytest.skip(f"{fault()}")
    server, software = servers(cell)
    assert server.disk is not None
    free = shutil.disk_usage(server.data).free
    with suppress(InterruptedInTheMiddle), server.disk.full():
        assert shutil.disk_usage(server.data).free < 4096
        states.use_disk()
        if ends == "interrupted":
            raise InterruptedInTheMiddle
    states.after_full_disk()
    server.start()
    software.check(server.url)
    assert shutil.disk_usage(server.data).free > free - 40 * 1024**2


@pytest.mark.parametrize("cell", [REDIS, POSTGRES])
@pytest.mark.parametrize("ends", ["ends", "interrupted"])
def test_a_paused_server_does_nothing_until_the_block_ends(
    servers: Callable[[str], tuple[OneServer, Backend]], cell: str, ends: str
) -> None:
    """All its processes are stopped, and go on after an interrupt, too."""
    server, software = servers(cell)
    main = psutil.Process(server.pid)
    with suppress(InterruptedInTheMiddle), paused(server.pid):
        family = (main, *main.children(recursive=True))
        # A child that had just ended waits for its parent, which is stopped.
        still = {psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE}
        assert eventually(lambda: {one.status() for one in family} <= still)
        if ends == "interrupted":
            raise InterruptedInTheMiddle
    software.check(server.url)


@pytest.mark.parametrize("cell", [REDIS, REDIS_7])
def test_a_log_without_its_last_byte_lacks_the_last_write(
    redis: Any, servers: Callable[[str], tuple[OneServer, Backend]], cell: str
) -> None:
    """The file that is cut is the one that grows, whatever the layout of the version."""
    server, software = servers(cell)
    for number in range(3):
        redis.set(f"written {number}", "value")
    server.kill()
    assert cut_tail(software.log(server.data), 1) == b"\n"
    server.start()
    assert [redis.exists(f"written {number}") for number in range(3)] == [1, 1, 0]
    redis.set("written 2", "again")
