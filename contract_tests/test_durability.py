"""dur: what survives a restart and a kill, measured against the row's promise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

import pytest

from contract_tests.fix_cell import SEED
from contract_tests.fix_histories import Judge
from contract_tests.fix_report import Measure
from contract_tests.fix_stores import Openings
from contract_tests.outage import TTL_SECONDS, Outage, break_under_load, open_all
from harness.backends import Backend
from harness.contracts import contract, needs
from harness.faces import LoopThread
from harness.matrix import Cell, Store
from harness.servers import Server, let_happen

pytestmark = needs("history", "context", "ttl", "lock")

EVENTS = [pytest.param(event, marks=needs(event)) for event in ("restart", "kill", "power_cut")]
over_events = pytest.mark.parametrize("event", EVENTS, scope="session")


@pytest.fixture(scope="session")
def outages(
    pytestconfig: pytest.Config,
    openings: Openings,
    software: Backend,
    server: Server,
    loop: LoopThread,
) -> Iterator[Callable[[str], dict[str, Outage]]]:
    """Break the server once an event, under the load of all stores."""
    done: dict[str, dict[str, Outage]] = {}

    with ExitStack() as stack:

        def outage(event: str) -> dict[str, Outage]:
            if event not in done:
                stores = open_all(stack, openings(f"durability-{event}"), software, loop)
                happens = partial(let_happen, event, server)
                done[event] = break_under_load(
                    stores, happens, server.start, pytestconfig.stash[SEED]
                )
            return done[event]

        yield outage


@pytest.fixture
def outage(outages: Callable[[str], dict[str, Outage]], event: str, store_row: Store) -> Outage:
    """What the event left of this store's sessions."""
    return outages(event)[store_row.name]


@contract("dur-1")
@over_events
def test_no_more_is_lost_than_promised(
    outage: Outage, event: str, cell: Cell, measure: Measure
) -> None:
    """A restart and a kill lose no more than the row promises, and the loss is measured.

    Look at the row's persistence settings, and at when the store answers a write.
    """
    promise = cell.promises[event]
    acknowledged, lost, seconds = outage.loss()
    measure(event, acknowledged=acknowledged, lost=lost, lost_seconds=seconds, promise=str(promise))
    assert not promise.broken_by(lost, seconds), (
        f"{event} lost {lost} of {acknowledged} acknowledged messages, over {seconds:.3f} s; "
        f"the row promises {promise}"
    )


@contract("dur-1")
@over_events
def test_a_store_opened_before_goes_on_after(outage: Outage) -> None:
    """A store that was open when the server went away answers once it is back."""
    assert outage.first_call is None


@contract("dur-2")
@over_events
def test_whatever_is_lost_is_a_tail(outage: Outage, judge: Judge) -> None:
    """What is lost is a suffix of what was acknowledged: no hole, nothing torn or reordered.

    Look for one write of the store that is several writes of the server.
    """
    for life in outage.lives.values():
        judge(life.history)


@contract("dur-2")
@over_events
def test_context_and_history_agree(outage: Outage) -> None:
    """After a loss, a session's context is of the same age as its history.

    The writer saves the number of messages after each turn: a context may be one turn behind.
    """
    for session_id, life in outage.lives.items():
        kept = len(life.survived)
        counted = life.context.value["messages"] if life.context else 0
        known = [0, *(messages for messages, _ in life.contexts)]
        known += [] if life.unknown_context is None else [life.unknown_context]
        assert counted in known, f"{session_id}: a context that nobody saved: {counted}"
        behind = max(known[-1], kept) if counted == known[-1] else known[known.index(counted) + 1]
        assert counted <= kept <= behind, (
            f"{session_id}: the context is of {counted} messages, the history has {kept}"
        )


@contract("dur-3")
@over_events
def test_ids_and_positions_survive_with_their_messages(outage: Outage) -> None:
    """A message id that survived is known again, at its position; a lost one is new."""
    for session_id, life in outage.lives.items():
        assert [read.id for read, _ in life.repeated] == [
            record.message_id for record in life.survived[-3:]
        ]
        for read, repeated in life.repeated:
            assert repeated == read, f"{session_id}: the id {read.id} was not known any more"
        assert life.next_position == len(life.survived) + 1


@contract("dur-3")
@over_events
def test_versions_never_come_back(outage: Outage) -> None:
    """A writer that read a context before it was lost cannot overwrite what came after.

    Look for versions that begin at 1 again.
    """
    for session_id, life in outage.lives.items():
        assert not life.unrefused, f"{session_id}: a save with an old version went through"
        assert life.next_version > max((version for _, version in life.contexts), default=0)


@contract("dur-3")
@over_events
def test_ttls_survive_and_do_not_start_anew(outage: Outage) -> None:
    """A session that survived has the rest of its TTL: down time counts."""
    most = TTL_SECONDS - (outage.seen_ns - outage.down_ns) / 1e9 + 0.1
    for session_id, life in outage.lives.items():
        if life.survived:
            assert life.ttl is not None, f"{session_id} lost its TTL"
            least = TTL_SECONDS - (life.seen_ns - outage.began_ns) / 1e9 - 0.1
            assert least <= life.ttl <= most, f"{session_id}: {life.ttl:.3f} s are left"


@contract("dur-3")
@contract("lock-3")
@over_events
def test_fencing_tokens_only_grow(outage: Outage) -> None:
    """Fencing tokens grow across a restart and a kill, and an older one is refused after it.

    Look for a counter that is lost with the data.
    """
    assert outage.next_token > outage.token
    assert outage.old_token_refused
