"""Groups of servers: members that follow, take over, part, lag and come back, and leave nothing."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from redis import Redis
from redis.exceptions import AskError, MovedError, RedisError

from harness.attestation import AttestationError, attest
from harness.backends import backend
from harness.contracts import contract
from harness.matrix import load
from harness.polling import eventually
from harness.providers import provide
from harness.servers import StartError, let_happen
from harness.servers.engine import host_network_fault
from harness.servers.groups.group import Group
from harness.servers.ownership import LABEL, owner
from harness.servers.places import Places
from tests.groups import KEY, Started, started
from tests.project import SUITE, Project
from tests.runs import PASSES, Run

CELLS = ("redis6_sentinel", "redis6_cluster", "postgres16_replica")
MEMBERS = {"redis7_sentinel": 6, "postgres15_replica": 2}
REPLICAS = {"redis6_sentinel": 2, "redis6_cluster": 3, "postgres16_replica": 1}

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module", params=CELLS)
def group(request: pytest.FixtureRequest) -> Iterator[Started]:
    """Each group, as local processes."""
    with started(request.param, "embedded") as one:
        yield one


@pytest.fixture
def whole(group: Started) -> Iterator[Started]:
    """The same, in step before the test and after it."""
    group.put("before")
    yield group
    group.server.heal()


def test_members_are_what_the_row_says(whole: Started) -> None:
    """Each is attested, and the replicas are told from those that take writes."""
    attest(whole.cell, whole.software, whole.server)
    members = set(whole.server.member_urls().values())
    replicas = set(whole.server.replica_urls())
    assert replicas < members
    assert len(replicas) == REPLICAS[whole.cell.id]
    assert whole.server.primary_url() in members - replicas


def test_members_listen_on_loopback_alone(whole: Started) -> None:
    """Clients elsewhere do not reach them, nor do other clusters."""
    assert all(urlsplit(url).hostname == "127.0.0.1" for url in whole.server.member_urls().values())
    ours = {child.pid for child in psutil.Process().children(recursive=True)}
    listening = [
        connection.laddr.ip
        for connection in psutil.net_connections("tcp")  # not by process: those of Postgres go
        if connection.pid in ours and connection.status == psutil.CONN_LISTEN and connection.laddr
    ]
    assert set(listening) == {"127.0.0.1"}


def test_another_takes_over_and_the_old_one_comes_back(whole: Started) -> None:
    """It has what was there, takes writes, and the one that was killed becomes its replica."""
    in_step(whole)
    replicas = set(whole.server.replica_urls())
    whole.server.fail_over(KEY.encode())
    assert whole.got() == "before"
    whole.put("after")
    assert set(whole.server.replica_urls()) < replicas
    whole.server.heal()
    assert len(whole.server.replica_urls()) == REPLICAS[whole.cell.id]
    in_step(whole)
    assert whole.got() == "after"
    attest(whole.cell, whole.software, whole.server)


@pytest.mark.parametrize("event", ["restart", "kill", "power_cut"])
def test_all_come_back_from_an_event(whole: Started, event: str) -> None:
    """All stop, and all start again as what they were, with what they had."""
    if reason := whole.server.cannot(event):
        pytest.skip(reason)
    primary = whole.server.primary_url()
    let_happen(event, whole.server)
    assert not [url for url in whole.server.member_urls().values() if listens(url)]
    whole.server.start()
    assert whole.server.primary_url() == primary
    if whole.cell.promises[event].kind == "keeps_all":
        assert whole.got() == "before"
    whole.put("after")
    in_step(whole)


def test_replicas_lag_in_the_block_and_catch_up_after_it(whole: Started) -> None:
    """They answer with what they had before, and at the block's end with all."""
    in_step(whole)
    before = answers(whole)
    with whole.server.lagging():
        whole.put("during")
        assert whole.got() == "during"
        assert answers(whole) == before
    assert eventually(lambda: "during" in answers(whole))


def test_a_primary_alone_is_reached_and_forgets_what_it_alone_was_told(whole: Started) -> None:
    """There are two primaries in the block, and one whose data count after it."""
    if "split_brain" in whole.cell.lacks:
        pytest.skip(whole.cell.lacks["split_brain"])
    with whole.server.split() as old_url:
        assert whole.server.primary_url() != old_url
        with Redis.from_url(old_url, decode_responses=True) as old:
            old.set(KEY, "alone")
            assert {client["user"] for client in old.client_list()} == {"default"}
            with whole.server.requiring_replicas(), pytest.raises(RedisError, match="NOREPLICAS"):
                old.set(KEY, "refused")
        whole.put("together")
    assert whole.got() == "together"
    assert old_url in whole.server.replica_urls()
    assert eventually(lambda: whole.got(old_url) == "together")


def test_a_slot_that_moves_is_asked_for_and_has_moved(whole: Started) -> None:
    """Its old primary says ASK in the block, MOVED after it; the key is there all the while."""
    if "resharding" in whole.cell.lacks:
        pytest.skip(whole.cell.lacks["resharding"])
    (old_url,) = [url for url in whole.server.member_urls().values() if serves(url)]
    with Redis.from_url(old_url) as old:
        with whole.server.move_slot(KEY.encode()):
            with pytest.raises(AskError):
                old.get(KEY)
            assert whole.got() == "before"
        with pytest.raises(MovedError):
            old.get(KEY)
    assert whole.got() == "before"


def test_a_member_of_another_configuration_is_named(whole: Started) -> None:
    """The refusal says which member differs, in what."""
    if whole.cell.backend == "postgres":
        pytest.skip("its members get their settings when they start")
    name, url = list(whole.server.member_urls().items())[-1]
    with Redis.from_url(url) as member:
        member.config_set("maxmemory-policy", "allkeys-lru")
        with pytest.raises(AttestationError) as caught:
            attest(whole.cell, whole.software, whole.server)
        member.config_set("maxmemory-policy", "noeviction")
    assert str(caught.value) == (
        f"{whole.cell.id}, {name}: the server is not what its row in matrix.toml says: "
        "maxmemory-policy is 'allkeys-lru', not 'noeviction'"
    )


def test_the_log_has_all_members_and_no_secret_is_in_sight(whole: Started) -> None:
    """Each member's log stands under its name; the password is neither there nor in a command."""
    assert isinstance(whole.server, Group)
    log = whole.server.logs()
    for name in whole.server.member_urls():
        assert f"==> {name}, 127.0.0.1:" in log
    password = urlsplit(whole.server.url).password
    assert password
    assert password not in log
    for member in whole.server._members.values():
        software = whole.server._software(member.name)
        here = software.local_command(Path("program"), Path("folder"), Path("data"), 1)
        there = software.container_arguments(whole.cell.settings, password)
        assert password not in " ".join([*here, *there])


@pytest.mark.parametrize("cell_id", CELLS)
def test_a_group_that_was_removed_has_left_nothing(cell_id: str) -> None:
    """Neither a process nor a port is left, also where a member was down."""
    before = set(psutil.Process().children())
    with started(cell_id, "embedded") as one:
        urls = list(one.server.member_urls().values())
        let_happen("kill", one.server)
        one.server.start()
        one.server.fail_over()
    one.server.remove()
    assert not set(psutil.Process().children()) - before
    assert not [url for url in urls if listens(url)]
    for url in urls:
        with socket.create_server(("127.0.0.1", urlsplit(url).port or 0)):
            pass  # it can be had again


@pytest.mark.parametrize("cell_id", ["redis7_sentinel", "postgres15_replica"])
def test_a_group_in_containers_does_the_same(daemon: Any, cell_id: str) -> None:
    """It takes over, comes back and is removed as local processes are."""
    mine = {"label": f"{LABEL}={owner()}"}
    with started(cell_id, "docker") as one:
        attest(one.cell, one.software, one.server)
        assert len(daemon.api.containers(filters=mine)) == MEMBERS[cell_id]
        one.put("before")
        in_step(one)
        one.server.fail_over(KEY.encode())
        one.put("after")
        one.server.heal()
        assert one.got() == "after"
    assert not daemon.api.containers(all=True, filters=mine)


@contract("hyg-3")
def test_containers_on_another_machine_are_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason says what they would need."""
    monkeypatch.setenv("DOCKER_HOST", "tcp://elsewhere:2375")
    host_network_fault.cache_clear()
    try:
        assert host_network_fault() == (
            "members of a group share the network of Docker's host, which may not be ours "
            "where the engine is tcp://elsewhere:2375"
        )
    finally:
        host_network_fault.cache_clear()


@contract("hyg-3")
def test_a_member_that_does_not_start_is_named_and_the_others_end() -> None:
    """The message is that of the member, with its log."""
    cell = load().cell("redis6_cluster")
    broken = replace(cell, settings={**cell.settings, "maxmemory": "a lot"})
    server = provide(broken, backend(broken.backend), "embedded", "")
    before = set(psutil.Process().children())
    try:
        with pytest.raises(StartError, match=r"^redis6_cluster-\w+: the server exited at start \("):
            server.start()
    finally:
        server.remove()
    assert not set(psutil.Process().children()) - before


def test_places_are_nobody_elses() -> None:
    """Until they are released: no two groups, and nobody who looks for a port, get the same."""
    first, second = Places(50), Places(50)
    try:
        ports = {places[number].port for places in (first, second) for number in range(50)}
        assert len(ports) == 100
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", first[0].port))
        with socket.create_server(("127.0.0.1", first[0].port)):
            pass  # a server sets SO_REUSEADDR, and may
    finally:
        first.release()
        second.release()


def in_step(group: Started) -> None:
    """Wait until the replicas have what the primary has."""
    value = group.got()
    assert eventually(lambda: value in answers(group))


def answers(group: Started) -> set[str | None]:
    """Return what the replicas answer; in a cluster, those that have the key."""
    found = set()
    for url in group.server.replica_urls():
        with suppress(MovedError):
            found.add(group.got(url))
    return found


def serves(url: str) -> bool:
    """Tell whether a member of a cluster is the one that takes writes of the key."""
    with Redis.from_url(url) as client:
        try:
            client.get(KEY)
        except MovedError:
            return False
    return True


def listens(url: str) -> bool:
    """Tell whether anybody listens where a member is."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", urlsplit(url).port or 0)) == 0


@contract("hyg-1")
def test_a_killed_run_of_a_group_is_swept_by_the_next(project: Project) -> None:
    """SIGKILL of a run takes all members with it; their directories go with the next run."""
    run = Run.of_cell(project, None, "postgres16_replica")
    traces = run.in_the_middle()
    assert len(traces.ports) == 2
    run.process.kill()
    run.end()
    assert eventually(lambda: not project.processes(), within=5), project.processes()
    project.write_contracts(PASSES)
    following = project.run(*SUITE, "--cell", "fakeredis7")
    assert following.returncode == 0, following.stdout
    assert not traces.left(project, None)


@contract("hyg-1")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_of_many_members_takes_them_with_it(project: Project, number: signal.Signals) -> None:
    """However it ends, all six are gone. (Redis writes its title over its environment.)"""
    run = Run.of_cell(project, None, "redis6_cluster")
    assert eventually((project.folder / "started" / "redis6_cluster").exists, within=40)
    ours = psutil.Process(run.process.pid).children(recursive=True)
    members = [process for process in ours if process.name() == "redis-server"]
    assert len(members) == 6
    run.process.send_signal(number)
    run.end()
    assert eventually(lambda: not any(map(lives, members)), within=5)
    project.run(*SUITE[:2], "harness.servers.sweep")
    assert not list(project.temporary.iterdir())


def lives(process: psutil.Process) -> bool:
    """Tell whether a process runs still."""
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
