"""dur: what survives a restart, a kill and a power cut, measured against the row's promise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

import pytest

from contract_tests.calls import LONGEST_OUTAGE
from contract_tests.fix_cell import SEED
from contract_tests.fix_histories import Judge
from contract_tests.fix_report import Measure
from contract_tests.fix_stores import Openings
from contract_tests.outage import (
    TTL_SECONDS,
    Life,
    Outage,
    break_under_load,
    load_seconds,
    open_all,
    times,
)
from contract_tests.takeovers import Takeover
from harness.attestation import attest
from harness.backends import Backend
from harness.contracts import contract, needs
from harness.faces import LoopThread
from harness.matrix import Cell, Store
from harness.servers import Server, let_happen
from harness.servers.topology import Topology

pytestmark = needs("history", "context", "ttl", "lock")

EVENTS = [
    pytest.param(event, marks=needs(event))
    for event in ("restart", "kill", "power_cut", "failover")
]
over_events = pytest.mark.parametrize("event", EVENTS, scope="session")


@pytest.fixture(scope="session")
def every_outage(
    pytestconfig: pytest.Config,
    openings: Openings,
    software: Backend,
    server: Server,
    store_rows: list[Store],
    cell: Cell,
    loop: LoopThread,
) -> Iterator[Callable[[str], list[dict[str, Outage]]]]:
    """Break the server under the load of all stores, as often as the event's promise needs."""
    done: dict[str, list[dict[str, Outage]]] = {}

    with ExitStack() as stack:

        def of(event: str) -> list[dict[str, Outage]]:
            if event in done:
                return done[event]
            promise, seed = cell.promises[event], pytestconfig.stash[SEED]
            stopped = {} if event == "restart" else of("restart")[0]
            outages = []
            for number in range(times(event, promise)):
                opened = openings(f"{event}-{number}")
                stores = open_all(stack, opened, software, loop)
                happens, start = partial(let_happen, event, server), server.start
                # Stores of a group wait until another server has taken over, or one is back.
                goes_on = isinstance(server, Topology)
                if isinstance(server, Topology):
                    happens, start = partial(_come_back_from, event, server), server.heal
                if event == "failover":
                    assert isinstance(server, Topology)
                    takeover = Takeover(stack, store_rows, opened, stores, loop)
                    happens = partial(takeover.happen, server)
                attest(cell, software, server)  # a start undoes what was changed meanwhile
                outage = break_under_load(
                    stores, happens, start, seed, load_seconds(promise), goes_on=goes_on
                )
                if event == "failover":
                    for (name, way), write in takeover.writes.items():
                        outage[name].taken_over = {**outage[name].taken_over, way: write}
                for name, one in stopped.items():
                    outage[name].older_lost = one.gone()
                outages.append(outage)
            done[event] = outages
            return outages

        yield of


@pytest.fixture
def outages(
    every_outage: Callable[[str], list[dict[str, Outage]]], event: str, store_row: Store
) -> list[Outage]:
    """What each time that the event happened left of this store's sessions."""
    return [outage[store_row.name] for outage in every_outage(event)]


def _come_back_from(event: str, server: Topology) -> None:
    """Let an event happen to all servers of a group, and start them again."""
    let_happen(event, server)
    server.start()


def lives(outages: list[Outage]) -> dict[str, Life]:
    """Return what each session of each outage went through, by a name for messages."""
    return {
        f"{session_id} of outage {number}": life
        for number, outage in enumerate(outages, start=1)
        for session_id, life in outage.lives.items()
    }


@contract("dur-1")
@over_events
def test_no_more_is_lost_than_promised(
    outages: list[Outage], event: str, cell: Cell, measure: Measure
) -> None:
    """A restart, kill, power cut or failover loses no more than the row promises; it is measured.

    Look at the row's persistence settings, and at when the store answers a write.
    """
    promise, broken = cell.promises[event], []
    for number, outage in enumerate(outages, start=1):
        acknowledged, lost, seconds = outage.loss()
        measure(
            event,
            happening=number,
            acknowledged=acknowledged,
            lost=lost,
            lost_seconds=round(seconds, 4),
            load_seconds=round(outage.load_seconds, 4),
            older_lost=outage.older_lost,
        )
        # A power cut may bring an earlier snapshot back, where the last one's name is not synced.
        snapshot = event == "power_cut" and promise.kind == "loses_since_snapshot"
        if promise.broken_by(lost, seconds, 0 if snapshot else outage.older_lost):
            broken.append(
                f"{lost} of {acknowledged} messages, over {seconds:.3f} s, and "
                f"{outage.older_lost} that an earlier clean stop had left"
            )
    assert not broken, f"{event} lost {'; '.join(broken)}; the row promises {promise}"


@contract("dur-1")
@over_events
def test_a_store_opened_before_goes_on_after(outages: list[Outage]) -> None:
    """A store that was open when the server went away answers once it is back."""
    assert [outage.first_call for outage in outages] == [None] * len(outages)


@contract("top-1")
@needs("failover")
@pytest.mark.parametrize("event", ["failover"], scope="session")
def test_the_call_after_a_failover_works(outages: list[Outage]) -> None:
    """Once another server has taken over the next write works, without a new store.

    Look for connections to a server that writes no more, and for addresses that are looked up
    once and for all.
    """
    for outage in outages:
        assert outage.taken_over
        for way, write in outage.taken_over.items():
            assert write.error is None, f"by {way}: {write}"
            assert write.seconds < LONGEST_OUTAGE, f"by {way}: {write}"


@contract("dur-2")
@over_events
def test_whatever_is_lost_is_a_tail(outages: list[Outage], judge: Judge) -> None:
    """What is lost is a suffix of what was acknowledged: no hole, nothing torn or reordered.

    Look for one write of the store that is several writes of the server.
    """
    for life in lives(outages).values():
        judge(life.history)


@contract("dur-2")
@over_events
def test_context_and_history_agree(outages: list[Outage]) -> None:
    """After a loss, a session's context is of the same age as its history.

    The writer saves the number of messages after each turn: a context may be one turn behind.
    """
    for session_id, life in lives(outages).items():
        if life.later_context:
            continue  # saved after the loss, by a writer that did not know of it
        kept = life.kept
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
def test_ids_and_positions_survive_with_their_messages(outages: list[Outage]) -> None:
    """A message id that survived is known again, at its position; a lost one is new."""
    for session_id, life in lives(outages).items():
        assert [read.id for read, _ in life.repeated] == [
            record.message_id for record in life.survived[-3:]
        ]
        for read, repeated in life.repeated:
            assert repeated == read, f"{session_id}: the id {read.id} was not known any more"
        assert life.next_position == len(life.survived) + 1


@contract("dur-3")
@over_events
def test_versions_never_come_back(outages: list[Outage]) -> None:
    """A writer that read a context before it was lost cannot overwrite what came after.

    Look for versions that begin at 1 again.
    """
    for session_id, life in lives(outages).items():
        assert not life.unrefused, f"{session_id}: a save with an old version went through"
        assert life.next_version > max((version for _, version in life.contexts), default=0)


@contract("dur-3")
@contract("ttl-5")
@over_events
def test_ttls_survive_and_do_not_start_anew(outages: list[Outage]) -> None:
    """A session that survived has the rest of its TTL: down time counts."""
    for outage in outages:
        most = TTL_SECONDS - (outage.seen_ns - outage.down_ns) / 1e9 + 0.1
        for session_id, life in outage.lives.items():
            if life.survived:
                assert life.ttl is not None, f"{session_id} lost its TTL"
                least = TTL_SECONDS - (life.seen_ns - outage.began_ns) / 1e9 - 0.1
                assert least <= life.ttl <= most, f"{session_id}: {life.ttl:.3f} s are left"


@contract("dur-3")
@contract("lock-3")
@over_events
def test_fencing_tokens_only_grow(outages: list[Outage]) -> None:
    """Fencing tokens grow across a restart and a kill, and an older one is refused after it.

    Look for a counter that is lost with the data.
    """
    for outage in outages:
        assert outage.next_token > outage.token
        assert outage.old_token_refused
