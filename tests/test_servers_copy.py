"""A server that starts with another one's data, and the programs that came with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest
from redis import Redis

from harness.backends import Backend, backend
from harness.faults.disk import Disk
from harness.faults.disk import fault as disk_fault
from harness.matrix import Cell, load
from harness.providers import provide_copyable
from harness.servers import Copyable, ExitedError, NotRunError, ProgramError
from harness.servers.engine import daemon_fault

MATRIX = load()
DAEMON = daemon_fault()
PROVIDERS = [
    "embedded",
    pytest.param("docker", marks=pytest.mark.skipif(DAEMON is not None, reason=str(DAEMON))),
]


class Like:
    """As much of a server as says from whom another is wanted."""

    def __init__(self, provider: str) -> None:
        self.provider = provider

    def cannot(self, event: str) -> str | None:
        """Anything can be done."""
        assert event == "changes"
        return None


class Servers:
    """Servers of one provider, removed at the end."""

    def __init__(self, provider: str, ending: ExitStack) -> None:
        self._like = Like(provider)
        self._ending = ending

    def new(self, cell: Cell, software: Backend) -> Copyable:
        """Start a server with nothing in it."""
        server = provide_copyable(cell, software, self._like, MATRIX.registry)  # type: ignore[arg-type] # it is enough of one
        return self.started(server)

    def started(self, server: Copyable) -> Copyable:
        """Start a server; skip where this machine cannot."""
        self._ending.callback(server.remove)
        try:
            server.start()
        except NotRunError as error:
            pytest.skip(str(error))
        return server


@pytest.fixture(params=PROVIDERS)
def servers(request: pytest.FixtureRequest) -> Iterator[Servers]:
    """Servers of each provider."""
    with ExitStack() as ending:
        yield Servers(request.param, ending)


def test_a_copy_has_the_data_and_its_own_settings(servers: Servers) -> None:
    """What is written to the copy later is not the first one's, which starts again as it was."""
    software = backend("redis")
    first = servers.new(MATRIX.cell("redis6_aof_always_noeviction"), software)
    with Redis.from_url(first.url) as client:
        client.set("a", "1")
    first.stop()
    copy = servers.started(first.copy(MATRIX.cell("redis6_aof_everysec_noeviction")))
    assert copy.url != first.url
    with Redis.from_url(copy.url) as client:
        assert client.get("a") == b"1"
        assert client.config_get("appendfsync") == {"appendfsync": "everysec"}
        client.set("b", "2")
    copy.kill()
    copy.start()
    with Redis.from_url(copy.url) as client:
        assert client.get("b") == b"2", "a copy keeps its data when it is killed"
    first.start()
    with Redis.from_url(first.url) as client:
        assert [client.get("a"), client.get("b")] == [b"1", None]


@pytest.mark.skipif(disk_fault() is not None, reason=str(disk_fault()))
def test_a_copy_that_refuses_its_data_says_so(servers: Servers) -> None:
    """A server that exits at start is told from one that is late, with its log."""
    cell = MATRIX.cell("redis6_rdb_noeviction")
    first = servers.new(cell, backend("redis"))
    first.stop()
    disk: Disk = first.disk  # type: ignore[attr-defined] # of both providers' servers
    (disk.mount_point / "dump.rdb").write_bytes(b"REDIS9999garbage")
    copy = first.copy(cell)
    with pytest.raises(ExitedError) as caught:
        servers.started(copy)
    assert "Can't handle RDB format version 9999" in caught.value.log
    assert "Can't handle RDB format version 9999" in str(caught.value)


def test_postgres_can_be_dumped_and_restored(servers: Servers) -> None:
    """By its own programs, from one server into a fresh one; what fails says what it said."""
    software = backend("postgres")
    cell = MATRIX.cell("postgres16_durable_lazy_read_committed")
    first, second = servers.new(cell, software), servers.new(cell, software)
    with psycopg.connect(first.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (id integer PRIMARY KEY)")
        connection.execute("INSERT INTO kept VALUES (7)")
    place = second.put("dump.sql", first.run(*software.dump()))
    second.run(*software.restore(place))
    with psycopg.connect(second.url) as connection:
        assert connection.execute("SELECT id FROM kept").fetchall() == [(7,)]
    with pytest.raises(ProgramError, match=r'relation "kept" already exists'):
        second.run(*software.restore(place))


def test_without_a_disk_the_files_are_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that cannot mount disks copies local servers all the same."""
    monkeypatch.setattr("harness.servers.embedded.disk_fault", lambda: "no root")
    with ExitStack() as ending:
        servers = Servers("embedded", ending)
        for cell_id in ("redis6_rdb_noeviction", "postgres16_durable_lazy_read_committed"):
            cell = MATRIX.cell(cell_id)
            software = backend(cell.backend)
            first = servers.new(cell, software)
            assert first.cannot("changes") is None
            first.stop()
            version = software.version(servers.started(first.copy(cell)).url)
            assert version.startswith(cell.image.version)
