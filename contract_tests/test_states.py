"""srv: a server that is there, and refuses calls because of the state it is in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial

import pytest

from contract_tests.calls import calls_of
from contract_tests.fix_stores import BY_URL, Openings
from contract_tests.visits import Visit, Visitor, visit
from harness.backends import Backend
from harness.contracts import contract, needs
from harness.crowd import together
from harness.faces import LoopThread
from harness.faults.states import States
from harness.inspectors.through import inspector_of
from harness.matrix import Cell, Store
from stores.errors import StoreUnavailable

pytestmark = needs("server_states", "history", "context", "sessions", "lock")

TIMEOUT = 2.0
"""Seconds. One server that refuses says so at once; a group may be asked until there is no time."""
OTHER_TIMEOUT = 0.6
"""Of stores that are constructed in other ways: some pools of callers wait for half of it."""
OF_OTHER_WAYS = ("append_message", "get_history", "load_session")
"""The calls of those."""


@pytest.fixture(scope="session")
def visitors(
    openings: Openings,
    store_rows: list[Store],
    software: Backend,
    states: States,
    loop: LoopThread,
    cell: Cell,
) -> Iterator[dict[tuple[str, str], Visitor]]:
    """Bring the server into each state once, and make every call of every store in it."""
    with ExitStack() as ending:
        visitors = {}
        for row in store_rows:
            calls = [*calls_of(row)]
            for way, factory in {BY_URL: row.factory, **row.ways_in(cell)}.items():
                some = calls if way == BY_URL else OF_OTHER_WAYS
                timeout = TIMEOUT if way == BY_URL else OTHER_TIMEOUT
                patient = openings(f"states-{way}", max_connections=len(some))[row.name]
                options = {**patient.options, "timeout": timeout}
                inspector = inspector_of(patient, software, loop)
                ending.enter_context(closing(inspector))
                ending.callback(inspector.clear)
                visitors[row.name, way] = Visitor(
                    store=ending.enter_context(
                        replace(patient, factory=factory, options=options).open(loop)
                    ),
                    timeout=timeout,
                    patient=ending.enter_context(patient.open(loop)),
                    inspector=inspector,
                    calls=some,
                    refusals=(StoreUnavailable,),
                )
        names = software.state_names(cell.topology)
        together([partial(one.prepare, names) for one in visitors.values()])
        for each in states.rounds():
            met = []
            with closing(each):
                for state in each:
                    visit([*visitors.values()], state)
                    met.append(state)
            together([partial(visitor.leave, met) for visitor in visitors.values()])
        yield visitors


@pytest.fixture
def visits(
    visitors: dict[tuple[str, str], Visitor], state: str, store_row: Store, ways: list[str]
) -> dict[str, Visit]:
    """What this store met in the state, by the way it was constructed."""
    return {way: visitors[store_row.name, way].visits[state] for way in ways}


@contract("srv-2")
def test_every_call_says_that_the_server_refuses(visits: dict[str, Visit]) -> None:
    """In each state a call is StoreUnavailable and changes nothing, or answers rightly.

    Look for error codes that the store does not know, and for `except` clauses that answer
    with None, [] or False.
    """
    wrong = {way: visit.wrong for way, visit in visits.items() if visit.wrong}
    assert not wrong
    refused = [one.error for visit in visits.values() for one in visit.outcomes.values()]
    assert any(refused), "nothing was refused: the server was not in the state"


@contract("srv-2")
def test_the_call_after_the_state_works(visits: dict[str, Visit], cell: Cell) -> None:
    """When the state is over what was stored is there, and the store goes on, without a new one.

    Look for connections that are kept although the server has closed or refused them.
    """
    if cell.promises["kill"].kind != "loses_all":  # by any recovery, such as a standby's
        assert all(visit.kept for visit in visits.values())
    outcomes = {way: visit.next_call for way, visit in visits.items()}
    assert not {way: one for way, one in outcomes.items() if one is None or one.error}


@contract("srv-3")
def test_a_lock_is_refused_and_not_half_held(visits: dict[str, Visit]) -> None:
    """A lock that was refused in a state is held by nobody after it, and no token comes twice.

    Look for a lock that is taken in several steps, of which the server refused a later one.
    """
    visit = visits[BY_URL]
    assert visit.next_lock is not None
    assert visit.next_lock.error is None, f"somebody holds it: {visit.next_lock}"
    before, after = visit.tokens
    assert after > before
