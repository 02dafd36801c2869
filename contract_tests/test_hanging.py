"""srv: a server that hangs, and later does what it was sent meanwhile."""

from __future__ import annotations

from functools import partial

from contract_tests.calls import LATE, answer, calls_of
from contract_tests.fix_stores import OpenStore
from contract_tests.visits import Visitor, visit
from harness.contracts import contract, needs
from harness.crowd import together
from harness.faults.freeze import paused
from harness.inspectors import Inspector
from harness.matrix import Store
from harness.servers import OneServer
from harness.stalls import stalls
from stores.errors import OutcomeUnknown, StoreUnavailable
from stores.interface import MemoryStore

STATE = "hanging"


@contract("srv-2")
@needs("pause", "history", "context", "sessions", "lock")
def test_what_a_hanging_server_did_not_get_never_happens(
    store: MemoryStore,
    open_store: OpenStore,
    store_row: Store,
    inspector: Inspector,
    one_server: OneServer,
    timeout: float,
) -> None:
    """While the server hangs every call fails in time, and what is StoreUnavailable never happens.

    Also not when the server goes on, and reads what was sent to it meanwhile. Look for
    "certainly not applied" that is said of a call which had been sent.
    """
    calls = [*calls_of(store_row)]
    hurried = open_store(timeout=timeout, max_connections=len(calls))
    visitor = Visitor(hurried, timeout, store, inspector, calls, (StoreUnavailable, OutcomeUnknown))
    visitor.prepare([STATE])
    together(
        [partial(answer, hurried.ping)] * (len(calls) // 2)
    )  # for some calls there are connections
    with paused(one_server.pid), stalls() as stalled:
        visit([visitor], STATE)
    visitor.leave([STATE])
    met = visitor.visits[STATE]
    assert not met.wrong
    assert not [name for name, one in met.outcomes.items() if one.error is None], "it did not hang"
    limit = timeout + LATE + stalled.seconds
    slow = {name: one.seconds for name, one in met.outcomes.items() if one.seconds > limit}
    assert not slow, f"later than the timeout of {timeout:.2f} s ({stalled})"
    assert met.kept
    assert met.next_call is not None
    assert met.next_call.error is None, f"when it went on: {met.next_call}"
