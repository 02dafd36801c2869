"""top: servers that only answer reads, and may lag or fail."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest

from contract_tests.calls import LATE, READS, answer, attempt, calls_of
from contract_tests.fix_replicas import BY_REPLICAS, Between, OpenReader
from contract_tests.fix_stores import OpenStore
from contract_tests.workload import turn
from harness.contracts import contract, needs
from harness.crowd import together
from harness.faults import FaultProxy
from harness.matrix import Store
from harness.servers.topology import Topology
from stores.errors import Conflict, NoSuchSession, StoreUnavailable
from stores.interface import MemoryStore, Message

pytestmark = needs("replica_lag")

SESSION = "one"
TIMEOUT = 2.0
"""Seconds: a silent replica costs a part of it, and the primary must still be asked in time."""
READINGS = 8
"""Reads that together take less than the timeout: no more than one or two wait for a replica."""
ROUNDS = 100


@pytest.fixture
def reader(open_reader: OpenReader) -> MemoryStore:
    """A store with reads on the replicas, which knows them: it has read some."""
    store = open_reader()
    store.append_messages(SESSION, turn("known", 1, 2))
    store.save_context(SESSION, {"known": True})
    know(store)
    return store


def know(store: MemoryStore) -> None:
    """Let a store read until it knows the replicas."""
    for _ in range(ROUNDS // 10):
        assert store.load_session(SESSION) is not None


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

    def read_on() -> None:
        for _ in range(ROUNDS):
            assert reader.get_history(SESSION) == history, "while the replicas catch up"

    values: list[dict[str, Any]] = []
    with ExitStack() as lag:
        lag.enter_context(topology.lagging())
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
        together([lag.close, read_on])


@contract("top-3")
@needs("history", "context", "lock")
def test_no_read_goes_back_behind_what_a_call_told(
    open_reader: OpenReader, store: MemoryStore, topology: Topology
) -> None:
    """What a store was told once, by a read or by any other call, no later read takes back.

    Others write here. Look for places in the log that are noted after writes alone: a refused
    save, a lock that others held, and the read of update_context tell of newer data too.
    """
    store.append_messages(SESSION, turn("known", 1, 2))
    store.save_context(SESSION, {"others": 0})
    saving, updating, locking, repeating, reading = readers = [open_reader() for _ in range(5)]
    topology.heal()
    for reader in readers:
        know(reader)
    with topology.lagging():
        version = store.save_context(SESSION, {"others": 1})
        with pytest.raises(Conflict):
            saving.save_context(SESSION, {"mine": 1}, if_version=1)
        context = saving.load_context(SESSION)
        assert context is not None
        assert context.version == version, "after a refused save"

        with pytest.raises(ZeroDivisionError):
            updating.update_context(SESSION, lambda value: {"never": value["others"] / 0})
        context = updating.load_context(SESSION)
        assert context is not None
        assert context.value == {"others": 1}, "after the read of an update"

        with store.lock(SESSION, lease=30, wait=5):
            last = store.append_message(SESSION, Message("user", "locked"))
        with locking.lock(SESSION, lease=30, wait=5):
            found = locking.get_history(SESSION, 1)
            assert found == [last], "after taking a lock that others held"

        last = store.append_message(SESSION, Message("user", "repeated", id="repeated"))
        assert repeating.append_message(SESSION, last.message) == last
        assert repeating.get_history(SESSION, 1) == [last], "after an append that was known"
    positions = []
    for number in range(ROUNDS // 2):
        store.append_message(SESSION, Message("user", f"{number}"))
        positions += [reading.get_history(SESSION, 1)[0].position for _ in range(2)]
    assert positions == sorted(positions)


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
