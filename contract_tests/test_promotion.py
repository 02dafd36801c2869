"""top, lock: a replica that clients come to alone, and one that takes over."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial

import pytest

from contract_tests.calls import READS, Outcome, answer, attempt, calls_of
from contract_tests.fix_replicas import BY_REPLICAS
from contract_tests.fix_stores import BY_URL, Openings, OpenStore
from contract_tests.workload import turn
from harness.contracts import contract, needs
from harness.crowd import together
from harness.faces import LoopThread
from harness.faults import FaultProxy, address_of
from harness.matrix import Store
from harness.servers.topology import Topology, primary_url
from stores.errors import StoreUnavailable
from stores.interface import MemoryStore, Message, StoredMessage

pytestmark = needs("replica_lag")

SESSION = "one"


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
        leads_to = primary_url(topology)
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


@pytest.fixture(scope="session")
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
