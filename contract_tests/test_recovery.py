"""net: the first call after connections broke, or after a call that was refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from itertools import product

from contract_tests.calls import Outcome, answer, attempt
from contract_tests.first_calls import write_and_read
from contract_tests.fix_faults import Proxied
from contract_tests.fix_stores import OpenStore
from contract_tests.workload import turn
from harness.contracts import contract, needs
from harness.crowd import together
from harness.faults import FaultProxy
from harness.inspectors import Inspector
from harness.matrix import Cell
from stores.errors import StoreError
from stores.interface import MemoryStore, Message

pytestmark = needs("network", "own_connections")

TIMEOUT = 3.0
"""Seconds: a busy machine connects in a quarter of it."""
CONNECTIONS = 2


@contract("net-5")
@needs("history")
def test_the_call_after_a_fault_works(
    new_proxied: Callable[[], Proxied], open_store: OpenStore, ways: list[str], store: MemoryStore
) -> None:
    """After connections were refused or reset the next call works, without a new store.

    Also where nobody called while it lasted. Look for broken connections that go back to the
    pool, and for pools that wait for a growing pause before they connect again.
    """
    store.append_message("before", Message("user", "hi"))
    faults: Mapping[str, Callable[[FaultProxy], AbstractContextManager[None]]] = {
        "refused": FaultProxy.refuse,
        "reset": FaultProxy.reset,
    }

    def outlive(way: str, fault: str) -> dict[str, Outcome]:
        found = {}
        proxy, url = new_proxied()
        one = open_store(way=way, url=url, timeout=TIMEOUT, max_connections=CONNECTIONS)
        for moment in ("idle", "called"):
            session_id = f"{fault}, {moment} by {way}"
            together([partial(answer, one.ping)] * CONNECTIONS)
            with faults[fault](proxy):
                if moment == "called":
                    attempt(one.append_messages, session_id, turn("during", 1, 2))
            found[session_id] = write_and_read(one, session_id)
        return found

    for found in together([partial(outlive, *job) for job in product(ways, faults)]):
        assert not {name: outcome for name, outcome in found.items() if outcome.error}


@contract("net-5")
@needs("history", "connections")
def test_the_call_after_all_connections_were_killed_works(
    open_store: OpenStore, ways: list[str], inspector: Inspector
) -> None:
    """After the server has closed all connections the next call works, without a new store.

    Look for idle connections that are used without a look at whether they are still open.
    """
    stores = {
        way: open_store(way=way, timeout=TIMEOUT, max_connections=CONNECTIONS) for way in ways
    }
    for store in stores.values():
        store.append_message("before", Message("user", "hi"))
        together([store.ping] * CONNECTIONS)
    inspector.kill_clients()
    outcomes = {way: write_and_read(store, way) for way, store in stores.items()}
    assert not {way: outcome for way, outcome in outcomes.items() if outcome.error}


@contract("net-6")
@needs("raw_records", "history", "context")
def test_a_bad_message_does_not_poison_the_connection(
    open_store: OpenStore, ways: list[str], inspector: Inspector, cell: Cell
) -> None:
    """After a call that the store or the server refused, the next one on its connection works.

    Look for a transaction that an error has aborted and nobody has rolled back, and for replies
    that are left unread.
    """
    taken = Message("user", "first", id="taken")
    bad: dict[str, Callable[[MemoryStore, str], object]] = {
        "not serializable": lambda one, at: one.append_message(
            at, Message("user", "hi", metadata={"socket": object()})
        ),
        "too long": lambda one, at: one.append_message(at, Message("user", "x" * 2000)),
        "surrogate": lambda one, at: one.append_message(at, Message("user", "\ud800")),
        "taken id": lambda one, at: one.append_messages(at, [Message("user", "2", id="taken")]),
        "stale": lambda one, at: one.save_context(at, {}, if_version=1),
        "corrupt": lambda one, at: one.get_history(f"corrupt {at}"),
        "contradiction": lambda one, at: one.append_message(f"counted {at}", Message("user", "2")),
    }
    if "foreign_values" not in cell.lacks:
        bad["foreign"] = lambda one, at: one.append_message(f"foreign {at}", Message("user", "2"))
    for way in ways:
        store = open_store(way=way, max_connections=1, max_record_bytes=1000)
        store.append_message(way, taken)
        store.append_message(f"counted {way}", Message("user", "1"))
        inspector.plant_message(f"corrupt {way}", 1, b"<html>503</html>")
        inspector.set_last_position(f"counted {way}", 0)
        if "foreign" in bad:
            inspector.plant_foreign_value(f"foreign {way}")
        for position, (name, call) in enumerate(bad.items(), start=2):
            outcome = attempt(call, store, way)
            assert outcome.error is None or isinstance(outcome.error, StoreError | ValueError)
            if name != "contradiction":  # which a store may also overwrite
                assert outcome.error is not None, f"{name} by {way} was not refused"
            after = store.append_message(way, Message("user", name, id=name))
            assert after.position == position, f"after {name} by {way}"
            assert store.get_history(way, 1) == [after], f"after {name} by {way}"
