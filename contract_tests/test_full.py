"""srv: a server whose memory or disk is full."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial

import pytest

from contract_tests.calls import READS, calls_of
from contract_tests.filling import KILOBYTE, MEGABYTE, Filling, fill
from contract_tests.fix_report import Measure
from contract_tests.fix_stores import PATIENCE, Openings
from contract_tests.visits import Visit, Visitor, visit
from harness.backends import Backend
from harness.contracts import contract, needs
from harness.crowd import together
from harness.faces import LoopThread
from harness.faults.states import States
from harness.histories import Loss
from harness.inspectors import Inspector
from harness.inspectors.through import inspector_of
from harness.matrix import Cell, Store
from harness.servers import OneServer, StartError
from stores.errors import OutcomeUnknown, StoreFull, StoreUnavailable
from stores.interface import MemoryStore

pytestmark = needs("history", "context", "sessions", "lock", "ttl")

ROOM = MEGABYTE // 2
"""What the memory has left when it begins to be filled."""
GO_ON = frozenset({*READS, "delete_session", "ping"})
"""Calls that need no space."""


@contract("srv-1")
@needs("memory_pressure", "refusal")
def test_a_full_memory_refuses_and_loses_nothing(
    store: MemoryStore, states: States, inspector: Inspector, measure: Measure
) -> None:
    """When the memory fills up a write is stored or StoreFull, and nothing acknowledged is lost.

    Look for errors of the server that are ignored, and for ones that the store does not know.
    """
    with states.memory_limit(ROOM):
        filling = fill(store, 16 * KILOBYTE, most=4 * ROOM // (16 * KILOBYTE))
        history = store.get_history("a long session", None)
    loss = filling.loss(inspector)
    measure(
        "pressure",
        of="memory",
        acknowledged=loss.acknowledged,
        kept=loss.acknowledged - len(loss.lost),
        refused=len(filling.refused),
        lost=len(loss.lost),
        lost_seconds=0.0,
    )
    assert filling.errors == {StoreFull}, "the memory was full, and no write was StoreFull"
    assert not loss.lost
    assert not loss.violations
    assert not filling.stored_though_refused(inspector)
    assert [message.id for message in history] == filling.acknowledged


@pytest.fixture
def full_memory(
    store: MemoryStore, store_row: Store, states: States, inspector: Inspector
) -> Visit:
    """Make every call of the store while the server has no memory left at all."""
    calls = [*calls_of(store_row)]
    visitor = Visitor(store, PATIENCE, store, inspector, calls, (StoreFull,))
    visitor.prepare(["full"])
    with states.memory_limit(-MEGABYTE):
        visit([visitor], "full")
    visitor.leave(["full"])
    return visitor.visits["full"]


@contract("srv-1")
@needs("memory_pressure", "refusal")
def test_with_a_full_memory_reads_and_deletes_go_on(full_memory: Visit) -> None:
    """With a full memory reads and deletes go on, all else is StoreFull, and later it all works.

    Look for reads that write, such as one that refreshes a TTL.
    """
    assert not full_memory.wrong
    outcomes = full_memory.outcomes
    assert not {name: one for name, one in outcomes.items() if name in GO_ON and one.error}
    assert outcomes["append_message"].error, "the memory was not full"
    assert full_memory.next_call is not None
    assert full_memory.next_call.error is None, f"after space was freed: {full_memory.next_call}"


@contract("srv-3")
@needs("memory_pressure", "refusal")
def test_with_a_full_memory_no_lock_is_half_held(full_memory: Visit) -> None:
    """A lock that a full server refused is held by nobody, and its token is not given out again.

    Look for a lock that is taken in several steps, of which the server refused a later one.
    """
    assert isinstance(full_memory.outcomes["lock"].error, StoreFull)
    assert_nobody_holds_it(full_memory)


@contract("srv-3")
@needs("memory_pressure", "refusal")
def test_with_a_full_memory_a_lock_is_let_go(store: MemoryStore, states: States) -> None:
    """A lock that was taken before the memory was full is let go of, and free.

    Look for a release that writes more than it deletes.
    """
    with ExitStack() as held:
        held.enter_context(store.lock("held", lease=60, wait=0))
        with states.memory_limit(-MEGABYTE):
            held.close()
    with store.lock("held", lease=60, wait=0):
        pass


def assert_nobody_holds_it(visit: Visit) -> None:
    """Check the lock that the visit took or was refused."""
    assert visit.next_lock is not None
    assert visit.next_lock.error is None, f"somebody holds it: {visit.next_lock}"
    before, after = visit.tokens
    assert after > before


PHASES = ("full", "full and in need of space")


@dataclass
class FullDisk:
    """What one store went through while the disk was full."""

    visitor: Visitor
    filling: Filling
    loss: Loss
    stored_though_refused: set[str]


@pytest.fixture(scope="session")
def full_disks(
    openings: Openings,
    store_rows: list[Store],
    software: Backend,
    one_server: OneServer,
    states: States,
    loop: LoopThread,
    cell: Cell,
) -> Iterator[dict[str, FullDisk]]:
    """Fill the disk once for all stores: make their calls before and after the server needs it."""
    with ExitStack() as ending:
        visitors = {}
        for row in store_rows:
            calls = [*calls_of(row)]
            opening = openings("disk", max_connections=len(calls))[row.name]
            inspector = ending.enter_context(closing(inspector_of(opening, software, loop)))
            ending.callback(inspector.clear)
            store = ending.enter_context(opening.open(loop))
            refusals = (StoreFull, StoreUnavailable, OutcomeUnknown)
            visitors[row.name] = Visitor(store, PATIENCE, store, inspector, calls, refusals)
        together([partial(visitor.prepare, PHASES) for visitor in visitors.values()])
        assert one_server.disk is not None
        try:
            with one_server.disk.full():
                filling = together(
                    [partial(fill, one.store, 64 * KILOBYTE, 24, 2) for one in visitors.values()]
                )
                visit([*visitors.values()], PHASES[0])
                states.use_disk()
                visit([*visitors.values()], PHASES[1])
        finally:
            states.after_full_disk()
            _start(one_server)
        # Of a server that ends, the last answers are as safe as after a kill.
        may_lose = PHASES if cell.promises["kill"].kind == "loses_tail" else ()
        for visitor in visitors.values():
            visitor.leave(PHASES, may_lose=may_lose)
        yield {
            name: FullDisk(
                visitor,
                filled,
                filled.loss(visitor.inspector),
                filled.stored_though_refused(visitor.inspector),
            )
            for (name, visitor), filled in zip(visitors.items(), filling, strict=True)
        }


def _start(server: OneServer) -> None:
    try:
        server.start()
    except StartError:  # it was there, and about to end by itself
        server.start()


@pytest.fixture
def full_disk(full_disks: dict[str, FullDisk], store_row: Store) -> FullDisk:
    """What this store went through."""
    return full_disks[store_row.name]


@contract("srv-1")
@needs("disk_pressure")
def test_a_full_disk_loses_nothing(full_disk: FullDisk, measure: Measure, cell: Cell) -> None:
    """When the disk fills up a write is stored or refused, and nothing acknowledged is lost.

    Also where the server ended of it. Look for errors that the store ignores or does not know,
    and for the settings that let the server go on without its log.
    """
    filling, loss = full_disk.filling, full_disk.loss
    measure(
        "pressure",
        of="disk",
        acknowledged=loss.acknowledged,
        kept=loss.acknowledged - len(loss.lost),
        refused=len(filling.refused) + len(filling.unknown),
        lost=len(loss.lost),
        lost_seconds=0.0,
    )
    assert not filling.wrong
    assert not loss.violations
    assert not full_disk.stored_though_refused
    visits = full_disk.visitor.visits.values()
    if cell.promises["kill"].kind != "loses_all" or all(visit.kept for visit in visits):
        assert not loss.lost


@contract("srv-1")
@needs("disk_pressure")
@pytest.mark.parametrize("phase", PHASES)
def test_with_a_full_disk_no_call_answers_wrongly(full_disk: FullDisk, phase: str) -> None:
    """With a full disk each call is refused or answers rightly, and later it all works.

    Look for `except` clauses that answer with None, [] or False.
    """
    visit = full_disk.visitor.visits[phase]
    assert not visit.wrong
    assert visit.next_call is not None
    assert visit.next_call.error is None, f"after space was freed: {visit.next_call}"


@contract("srv-1")
@needs("disk_pressure")
def test_a_full_disk_is_noticed(full_disk: FullDisk) -> None:
    """Writes are refused, at the latest when the server comes to need its disk."""
    visits = full_disk.visitor.visits
    errors = {type(one.error) for one in visits[PHASES[1]].outcomes.values() if one.error}
    assert errors | full_disk.filling.errors, "the disk was full, and nothing was refused"


@contract("srv-3")
@needs("disk_pressure")
def test_with_a_full_disk_no_lock_is_half_held(full_disk: FullDisk) -> None:
    """A lock that a full server refused is held by nobody, and its token is not given out again.

    Look for a lock that is taken in several steps, of which the server refused a later one.
    """
    for one in full_disk.visitor.visits.values():
        assert_nobody_holds_it(one)
