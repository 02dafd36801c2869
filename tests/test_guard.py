"""What speed rests on, in counts: a busy machine changes seconds, and none of these."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from harness.backends import backend
from harness.faults import FaultProxy, address_of
from harness.faults.traffic import Fault, Link
from harness.matrix import load
from harness.report.outcome import read_outcome
from harness.servers.embedded import EmbeddedServer
from harness.servers.ownership import LABEL
from stores.errors import StoreUnavailable
from stores.interface import MemoryStore, Message
from stores.postgres import PostgresStore
from stores.redis import RedisStore
from tests.project import OURS, ROOT

STORES: dict[str, tuple[Any, str]] = {
    "redis": (RedisStore, "redis6_none_noeviction"),
    "postgres": (PostgresStore, "postgres16_unlogged_lazy_read_committed"),
}
WARM = 2
"""Calls before the counted one: connecting, loading a script, preparing a statement."""
EXTENDED = frozenset(b"PBDESCXQ")
"""Types of a Postgres client's messages (its docs, Message Formats)."""


def lock(store: MemoryStore) -> None:
    """Take a lock and let go of it."""
    with store.lock("s", lease=30, wait=0):
        pass


CALLS: dict[str, Callable[[MemoryStore], object]] = {
    "append": lambda store: store.append_message("s", Message("user", "hi")),
    "turn": lambda store: store.append_messages("s", [Message("user", "hi"), Message("a", "yes")]),
    "history": lambda store: store.get_history("s", 20),
    "save": lambda store: store.save_context("s", {"n": 1}),
    "load": lambda store: store.load_context("s"),
    "session": lambda store: store.load_session("s"),
    "update": lambda store: store.update_context("s", lambda context: {**context, "n": 2}),
    "lock": lock,
    "set_ttl": lambda store: store.set_ttl("s", 60),
    "get_ttl": lambda store: store.get_ttl("s"),
}
ROUND_TRIPS = dict.fromkeys(CALLS, 1) | {"update": 2, "lock": 2}
REDIS_COMMANDS = {
    "append": {"evalsha": 1, "hget": 3, "time": 1, "hset": 1, "pexpire": 1},
    "turn": {"evalsha": 1, "hget": 4, "time": 1, "hset": 1, "pexpire": 1},
    "history": {"evalsha": 1, "hget": 1, "hmget": 1},
    "save": {"evalsha": 1, "hmget": 1, "time": 1, "hset": 1, "hget": 1, "pexpire": 1},
    "load": {"hmget": 1},
    "session": {"evalsha": 1, "exists": 1, "hmget": 2, "hget": 1},
    "update": {"evalsha": 1, "hmget": 2, "time": 1, "hset": 1, "hget": 1, "pexpire": 1},
    "lock": {"evalsha": 2, "hmget": 2, "time": 3, "hget": 1, "hset": 1, "hdel": 1, "pexpire": 2},
    "set_ttl": {"evalsha": 1, "exists": 1, "hset": 1, "hget": 1, "pexpire": 1},
    "get_ttl": {"pttl": 1},
}
"""Those of the scripts too, as INFO commandstats counts them."""


class Counting(Fault):
    """Counts round trips, and Postgres's messages, of all connections."""

    def __init__(self) -> None:
        super().__init__()
        self.round_trips = 0
        self.messages: Counter[str] = Counter()
        self._answered = True

    async def request(self, link: Link, chunk: bytes) -> bytes:
        self.round_trips += self._answered
        self._answered = False
        at = 0
        while at < len(chunk) and chunk[at] in EXTENDED:
            self.messages[chr(chunk[at])] += 1
            at += 1 + int.from_bytes(chunk[at + 1 : at + 5])
        return chunk

    async def reply(self, link: Link, chunk: bytes) -> bytes:
        self._answered = True
        return chunk


@pytest.fixture(scope="module", params=list(STORES))
def server(request: pytest.FixtureRequest) -> Iterator[tuple[str, EmbeddedServer]]:
    """A real server of each kind."""
    cell = load().cell(STORES[request.param][1])
    server = EmbeddedServer(cell, backend(cell.backend))
    try:
        server.start()
        yield request.param, server
    finally:
        server.remove()


@contextmanager
def counted(proxy: FaultProxy) -> Iterator[Counting]:
    """Count what goes through a proxy in the block."""
    counting: list[Counting] = []

    def make() -> Counting:
        counting.append(Counting())
        return counting[-1]

    with proxy.apply(make):
        yield counting[0]


@pytest.mark.parametrize("name", list(CALLS))
def test_a_call_takes_its_round_trips_and_no_more(
    server: tuple[str, EmbeddedServer], name: str
) -> None:
    """One a step, whatever the face does around it; and nothing is parsed twice by Postgres."""
    kind, running = server
    with (
        closing(FaultProxy(lambda: address_of(running.url))) as proxy,
        STORES[kind][0].from_url(
            proxy.url(running.url), namespace=f"trips {name}", ttl=60
        ) as store,
    ):
        store.save_context("s", {})
        for _ in range(WARM):
            CALLS[name](store)
        with counted(proxy) as counting:
            CALLS[name](store)
        assert counting.round_trips == ROUND_TRIPS[name]
        assert proxy.connections == 1
        if kind == "postgres":
            steps = ROUND_TRIPS[name]
            assert counting.messages == {"B": steps, "D": steps, "E": steps, "S": steps}


@pytest.mark.parametrize("server", ["postgres"], indirect=True)
def test_a_first_use_that_is_refused_leaves_its_statement_prepared(
    server: tuple[str, EmbeddedServer],
) -> None:
    """It is not parsed again under a name that is taken, and preparing is not given up."""
    _, running = server
    with (
        closing(FaultProxy(lambda: address_of(running.url))) as proxy,
        psycopg.connect(running.url, autocommit=True) as other,
    ):
        other.execute("ALTER ROLE CURRENT_USER SET lock_timeout = '20ms'")
        try:
            with PostgresStore.from_url(
                proxy.url(running.url), namespace="refused", ttl=60
            ) as store:
                store.save_context("s", {})
                with other.transaction():
                    other.execute("LOCK TABLE agent_memory.messages")
                    with pytest.raises(StoreUnavailable):
                        CALLS["append"](store)
                with counted(proxy) as counting:
                    CALLS["append"](store)
        finally:
            other.execute("ALTER ROLE CURRENT_USER RESET lock_timeout")
        assert counting.messages == {"B": 1, "D": 1, "E": 1, "S": 1}
        assert proxy.connections == 1


@pytest.mark.parametrize("server", ["redis"], indirect=True)
@pytest.mark.parametrize("name", list(CALLS))
def test_a_call_takes_its_commands_and_no_more(
    server: tuple[str, EmbeddedServer], name: str
) -> None:
    """A script does few commands, and as many for the thousandth message as for the first.

    Of Postgres, which counts rows and pages, contract conv-10 asks the same.
    """
    _, running = server
    with (
        redis.Redis.from_url(running.url) as client,
        RedisStore.from_url(running.url, namespace=f"commands {name}", ttl=60) as store,
    ):
        store.append_messages("s", [Message("user", f"{n}") for n in range(1000)])
        store.save_context("s", {})
        for _ in range(WARM):
            CALLS[name](store)
        client.config_resetstat()
        CALLS[name](store)
        stats: Any = client.info("commandstats")
        found = {key.removeprefix("cmdstat_"): row["calls"] for key, row in stats.items()}
        found = {
            key: calls for key, calls in found.items() if not key.startswith(("config", "info"))
        }
        assert found == REDIS_COMMANDS[name]


def imported(code: str) -> set[str]:
    """Return the names of the modules that a new interpreter imports for some code."""
    told = "import json, sys; print(json.dumps([*sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{told}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return {*json.loads(done.stdout.splitlines()[-1])}


THIRD_PARTY = {"redis", "psycopg", "psycopg_pool", "docker", "testcontainers", "requests", "pytest"}
THIRD_PARTY |= {"hypothesis", "fakeredis", "psutil", "rich", "asyncio"}
MOST = {
    "import stores": 94,
    "import harness.matrix, harness.options": 114,
    "import stores.redis": 328,
    "import stores.postgres": 374,
}
"""Modules, the standard library's among them: a tenth more than there were."""


@pytest.mark.parametrize("code", list(MOST))
def test_imports_stay_few(code: str) -> None:
    """What users and the noxfile import loads little, and nothing that it does not need."""
    found = imported(code)
    assert len(found) <= MOST[code], f"{len(found)}: what is new is not needed at import"


def test_the_interface_and_the_matrix_import_no_packages() -> None:
    """Neither drivers nor an event loop, which take longer than all the rest."""
    for code in ("import stores", "import harness.matrix, harness.options"):
        assert not THIRD_PARTY & imported(code), code


def test_a_driver_is_imported_for_its_own_backend_alone() -> None:
    """A store of Redis loads nothing of Postgres, and the other way round."""
    assert "psycopg" not in imported("import stores.redis")
    assert "redis" not in imported("import stores.postgres")


MODULES_OF_A_CELL = 738
"""A tenth more than a cell of the fast lane imported until its first contract."""


def test_a_cell_starts_with_few_imports(tmp_path: Path) -> None:
    """A cell's start imports what it runs: no Docker client, for one, where there is none."""
    counter = tmp_path / "counter.py"
    counter.write_text(
        "import json, sys, pathlib\n"
        "def pytest_runtest_setup(item):\n"
        f"    path = pathlib.Path({str(tmp_path / 'modules')!r})\n"
        "    path.exists() or path.write_text(json.dumps([*sys.modules]))\n"
    )
    _contracts("-k", "is_read_back", "-p", "counter", "--cell=fakeredis7", path=tmp_path)
    found = json.loads((tmp_path / "modules").read_text())
    assert len(found) <= MODULES_OF_A_CELL, f"{len(found)} modules"
    assert not {"docker", "testcontainers", "psycopg"} & {*found}


def test_a_standalone_cell_starts_one_container(daemon: Any, tmp_path: Path) -> None:
    """One for all contracts that do not need others beside it."""
    cell = "redis7_none_noeviction"
    began = int(time.time()) - 1
    _contracts("--cell", cell, "--provider=docker", path=tmp_path)
    whose = read_outcome(tmp_path / cell).owner
    wanted = {"type": "container", "event": "create", "label": f"{LABEL}={whose}"}
    events = daemon.events(since=began, until=int(time.time()) + 1, filters=wanted, decode=True)
    assert len([*events]) == 1


def _contracts(*arguments: str, path: Path) -> None:
    """Run some contracts in a process of their own, with a folder for plugins and reports."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(OURS)}
    command = [sys.executable, "-m", "pytest", "contract_tests/test_conversation.py"]
    run = subprocess.run(
        [*command, *arguments, f"--reports={path}"],
        cwd=ROOT,
        env={**kept, "PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
