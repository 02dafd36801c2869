"""top: servers that only answer reads, which may lag, fail, or take over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, Protocol

import pytest

from contract_tests.calls import LATE, Outcome, answer, attempt, calls_of
from contract_tests.fix_faults import Proxied
from contract_tests.fix_stores import BY_URL, Openings, OpenStore
from contract_tests.workload import turn
from harness.contracts import contract, needs
from harness.crowd import together
from harness.faces import LoopThread
from harness.faults import FaultProxy, address_of
from harness.matrix import Store
from harness.servers import Server
from harness.servers.topology import Topology
from stores.errors import Conflict, NoSuchSession, StoreUnavailable
from stores.interface import MemoryStore, Message, StoredMessage

pytestmark = needs("replica_lag")

BY_REPLICAS = "replicas"
"""The way to construct a store whose reads may be answered by replicas; without it none are."""
SESSION = "one"
READS = {"get_history", "load_context", "load_session", "get_ttl", "iter_sessions"}
TIMEOUT = 2.0
"""Seconds: a silent replica costs a part of it, and the primary must still be asked in time."""
READINGS = 8
"""Reads that together take less than the timeout: no more than one or two wait for a replica."""
ROUNDS = 100


@pytest.fixture(scope="session")
def topology(server: Server) -> Topology:
    """The cell's servers, some of which only answer reads."""
    assert isinstance(server, Topology)
    return server


class OpenReader(Protocol):
    """Opens a store whose reads may be answered by replicas, if it can be opened so."""

    def __call__(self, **options: Any) -> MemoryStore: ...


@pytest.fixture
def open_reader(open_store: OpenStore, topology: Topology, ways: list[str]) -> OpenReader:
    """Open stores of the adapter under test with reads on the replicas."""
    if BY_REPLICAS not in ways:
        return open_store
    return partial(open_store, way=BY_REPLICAS, replicas=topology.replica_urls())


@pytest.fixture
def reader(open_reader: OpenReader) -> MemoryStore:
    """A store with reads on the replicas, which knows them: it has read some."""
    store = open_reader()
    store.append_messages(SESSION, turn("known", 1, 2))
    store.save_context(SESSION, {"known": True})
    for _ in range(ROUNDS // 10):
        assert store.load_session(SESSION) is not None
    return store


def seen(store: MemoryStore) -> dict[str, Any]:
    """Return what each read shows of the session."""
    session = store.load_session(SESSION)
    context = store.load_context(SESSION)
    return {
        "get_history": store.get_history(SESSION),
        "load_session": session.history if session else [],
        "load_context": context,
        "load_session, context": session.context if session else None,
        "iter_sessions": SESSION in store.iter_sessions(),
        "get_ttl": attempt(store.get_ttl, SESSION).result,
    }


@contract("top-3")
@needs("history", "context", "sessions", "ttl")
def test_a_store_sees_its_own_writes_while_replicas_lag(
    reader: MemoryStore, topology: Topology
) -> None:
    """Every read shows each of the store's own writes at once, while replicas lag and afterwards.

    Look for reads that go to a replica without asking how far it is, and for an answer whose
    place was asked later than the data it belongs to.
    """
    before = seen(reader)

    def check(step: str, **expected: object) -> None:
        before.update(expected)
        found = seen(reader)
        wrong = {name: found[name] for name, value in before.items() if found[name] != value}
        assert not wrong, f"after {step}"

    def save_in_update(value: dict[str, Any]) -> dict[str, Any]:
        values.append(value)
        return {"updated": True}

    values: list[dict[str, Any]] = []
    with topology.lagging():
        history = before["get_history"] + reader.append_messages(SESSION, turn("mine", 1, 2))
        check("an append", get_history=history, load_session=history)
        reader.save_context(SESSION, {"saved": True})
        context = reader.update_context(SESSION, save_in_update)
        assert values == [{"saved": True}], "update_context has read something else"
        check("an update", **{"load_context": context, "load_session, context": context})
        reader.set_ttl(SESSION, 1000)
        assert (reader.get_ttl(SESSION) or 0) != 0, "after setting a TTL"
        reader.set_ttl(SESSION, None)
        check("taking the TTL away")
        assert reader.delete_session(SESSION)
        assert reader.load_session(SESSION) is None
        assert reader.load_context(SESSION) is None
        assert reader.get_history(SESSION) == []
        assert SESSION not in reader.iter_sessions()
        with pytest.raises(NoSuchSession):
            reader.get_ttl(SESSION)
        history = reader.append_messages(SESSION, turn("anew", 1, 2))
    for _ in range(ROUNDS):
        assert reader.get_history(SESSION) == history, "while the replicas catch up"


@contract("top-3")
@needs("history", "context", "lock")
def test_no_read_goes_back_behind_what_a_call_told(
    reader: MemoryStore, store: MemoryStore, topology: Topology
) -> None:
    """What a store was told once, by a read or by any other call, no later read takes back.

    Others write here. Look for places in the log that are noted after writes alone: a refused
    save, a lock that others held, and the read of update_context tell of newer data too.
    """
    with topology.lagging():
        version = store.save_context(SESSION, {"others": 1})
        with pytest.raises(Conflict):
            reader.save_context(SESSION, {"mine": 1}, if_version=1)
        context = reader.load_context(SESSION)
        assert context is not None
        assert context.version == version, "after a refused save"
    with topology.lagging():
        store.save_context(SESSION, {"others": 2})
        with pytest.raises(ZeroDivisionError):
            reader.update_context(SESSION, lambda value: {"never": value["others"] / 0})
        context = reader.load_context(SESSION)
        assert context is not None
        assert context.value == {"others": 2}, "after the read of an update"
    with topology.lagging():
        with store.lock(SESSION, lease=30, wait=5):
            last = store.append_message(SESSION, Message("user", "locked"))
        with reader.lock(SESSION, lease=30, wait=5):
            assert reader.get_history(SESSION, 1) == [last], "after taking a lock that others held"
    with topology.lagging():
        last = store.append_message(SESSION, Message("user", "repeated", id="repeated"))
        assert reader.append_message(SESSION, last.message) == last
        assert reader.get_history(SESSION, 1) == [last], "after an append that was known"
    positions = []
    for number in range(ROUNDS // 2):
        store.append_message(SESSION, Message("user", f"{number}"))
        positions += [reader.get_history(SESSION, 1)[0].position for _ in range(2)]
    assert positions == sorted(positions)


class Between(NamedTuple):
    """Proxies before the primary and before each replica."""

    primary: Proxied
    replicas: list[Proxied]

    @property
    def replica_urls(self) -> list[str]:
        """The URLs that lead through the proxies."""
        return [replica.url for replica in self.replicas]


@pytest.fixture
def new_between(topology: Topology, loop: LoopThread) -> Iterator[Callable[[], Between]]:
    """Make proxies, so that stores have faults of their own at the same time."""
    with ExitStack() as proxies:

        def proxied(url: str) -> Proxied:
            proxy = FaultProxy(partial(address_of, url), loop)
            return Proxied(proxies.enter_context(closing(proxy)), proxy.url(url))

        def new() -> Between:
            replicas = [proxied(url) for url in topology.replica_urls()]
            return Between(proxied(_primary_url(topology)), replicas)

        yield new


def _primary_url(topology: Topology) -> str:
    (primary,) = set(topology.member_urls().values()) - set(topology.replica_urls())
    return primary


@contract("top-3")
@needs("replica_reads", "history", "context", "sessions", "ttl")
def test_replicas_in_step_answer_the_reads_and_nothing_else(
    new_between: Callable[[], Between],
    open_store: OpenStore,
    store_row: Store,
) -> None:
    """While the primary is away, replicas in step answer every read, and only reads.

    What reads the primary alone has no lag to fear, and no use for replicas. Look for writes,
    locks and the read of update_context that reach a replica.
    """
    between = new_between()
    url = between.primary.url
    store = open_store(way=BY_REPLICAS, url=url, replicas=between.replica_urls)
    store.append_messages(SESSION, turn("known", 1, 2))
    store.save_context(SESSION, {"known": True})
    expected = seen(store)
    with between.primary.proxy.refuse():
        outcome = answer(store.load_session, SESSION)  # in step, sooner or later
        assert outcome.error is None
        assert seen(store) == expected
        others = {name: call for name, call in calls_of(store_row).items() if name not in READS}
        wrong = {
            name: attempt(call.make, store, SESSION).fault(StoreUnavailable)
            for name, call in others.items()
        }
    assert not {name: fault for name, fault in wrong.items() if fault}
    assert store.append_message(SESSION, Message("user", "after")).position == 3


@contract("top-3")
@needs("replica_reads", "history")
def test_a_replica_that_is_gone_changes_no_answer(
    new_between: Callable[[], Between],
    open_store: OpenStore,
) -> None:
    """With replicas that refuse, reset or keep silent every read is answered, right and in time.

    Look for a replica that is given the whole timeout, and for one that each read waits for anew.
    """
    faults = {
        "refused": FaultProxy.refuse,
        "reset": FaultProxy.reset,
        "silent": FaultProxy.blackhole,
    }

    def outlive(fault: str) -> None:
        between = new_between()
        store = open_store(
            way=BY_REPLICAS,
            url=between.primary.url,
            replicas=between.replica_urls,
            timeout=TIMEOUT,
        )
        assert answer(store.append_messages, fault, turn("known", 1, 2)).error is None
        assert answer(store.get_history, fault).error is None
        with ExitStack() as broken:
            for replica in between.replicas:
                broken.enter_context(faults[fault](replica.proxy))
            seconds = 0.0
            for count in range(3, 3 + READINGS):
                outcome = answer(store.append_message, fault, Message("user", "more"))
                assert outcome.error is None, f"{fault}: {outcome}"
                outcome = attempt(store.get_history, fault)
                assert outcome.error is None, f"{fault}: {outcome}"
                assert len(outcome.result) == count, f"{fault}: {outcome}"
                seconds += outcome.seconds
            assert seconds < TIMEOUT + LATE, f"{fault}: {READINGS} reads"
        assert len(store.get_history(fault)) == 2 + READINGS, fault

    together([partial(outlive, fault) for fault in faults])


@contract("lock-5")
@needs("history", "context", "lock")
def test_a_replica_alone_takes_no_write_and_no_lock(
    open_store: OpenStore, store: MemoryStore, store_row: Store, topology: Topology
) -> None:
    """At a replica's own address every write and lock is refused; reads are right, or refused.

    A lock on a replica would exclude nobody. Look for a lock whose holder is only looked up
    there, where it may be out of date.
    """
    history = store.append_messages(SESSION, turn("known", 1, 2))
    topology.heal()
    for url in topology.replica_urls():
        alone = open_store(url=url, way=BY_URL)
        for name, call in calls_of(store_row).items():
            outcome = attempt(call.make, alone, SESSION)
            if name not in READS and name != "ping":
                assert not outcome.fault(StoreUnavailable), f"{name}: {outcome}"
        outcome = attempt(alone.get_history, SESSION)
        assert outcome.result == history or isinstance(outcome.error, StoreUnavailable)
        with store.lock(SESSION, lease=30, wait=5):
            topology.heal()
            outcome = attempt(calls_of(store_row)["lock"].make, alone, SESSION)
            assert not outcome.fault(StoreUnavailable), f"a lock that another holds: {outcome}"
    assert store.get_history(SESSION) == history


@contract("top-1")
@needs("replica_reads", "history")
def test_an_address_that_led_to_a_replica_leads_to_the_primary_again(
    topology: Topology, loop: LoopThread, open_store: OpenStore, ways: list[str]
) -> None:
    """Where a store's one address led to a replica, the next call finds the primary there.

    As behind a load balancer, or a name that moves. What a replica refuses was not applied. Look
    for its connection, which works but takes no writes, and goes back to the pool.
    """
    leads_to = replica = topology.replica_urls()[0]
    with closing(FaultProxy(lambda: address_of(leads_to), loop)) as proxy:
        stores = {way: open_store(way=way, url=proxy.url(replica)) for way in ways}
        for way, store in stores.items():
            together([partial(attempt, store.get_history, way)] * 2)
            refused = attempt(store.append_message, way, Message("user", "refused"))
            assert not refused.fault(StoreUnavailable), f"{way}: {refused}"
        leads_to = _primary_url(topology)
        for way, store in stores.items():
            assert store.append_message(way, Message("user", "taken")).position == 1, way
            assert len(store.get_history(way)) == 1, way


@contract("top-3")
@needs("history", "failover")
def test_reads_stay_right_when_a_replica_takes_over(
    taken_over: dict[str, list[Outcome]], store_row: Store
) -> None:
    """When a replica is promoted the store goes on, and still sees each of its writes at once.

    Without a new store. Look for a server that still follows the old primary, or was it, and
    whose place in the log is higher than the new primary's.
    """
    assert not taken_over[store_row.name], "what was read or raised instead"


@pytest.fixture(scope="module")
def taken_over(
    openings: Openings, store_rows: list[Store], topology: Topology, loop: LoopThread
) -> dict[str, list[Outcome]]:
    """Let a replica take over, once for all stores; return what each of them was told wrong."""
    with ExitStack() as ending:
        stores: dict[str, tuple[MemoryStore, list[StoredMessage], list[Outcome]]] = {}
        for row in store_rows:
            opening = openings("taken over")[row.name]
            if BY_REPLICAS in row.ways:
                options = {**opening.options, "replicas": list(topology.member_urls().values())}
                opening = replace(opening, factory=row.ways[BY_REPLICAS], options=options)
            stores[row.name] = ending.enter_context(opening.open(loop)), [], []

        def use_all() -> None:
            for one in stores.values():
                _write_and_read(*one)

        use_all()
        topology.heal()
        topology.fail_over()
        try:
            use_all()
        finally:
            topology.heal()
        use_all()
        for store, _, _ in stores.values():
            store.delete_session(SESSION)
    return {name: wrong for name, (_, _, wrong) in stores.items()}


def _write_and_read(store: MemoryStore, known: list[StoredMessage], wrong: list[Outcome]) -> None:
    """Append and read in turn; remember what was acknowledged, and what was wrong."""
    for number in range(10):
        message = Message("user", f"{number}")
        written = answer(store.append_message, SESSION, message)
        if written.unknown:  # its connection was lost
            written = answer(store.append_message, SESSION, message)
        if written.error:
            wrong.append(written)
            return
        known.append(written.result)
        read = answer(store.get_history, SESSION)
        if read.result != known:
            wrong.append(read)
