"""dur: what survives a restart, a kill and a power cut, measured against the row's promise."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from contract_tests.calls import LONGEST_OUTAGE, Outcome
from contract_tests.fix_histories import Judge
from contract_tests.fix_report import Measure
from contract_tests.lasting import OUTLIVED
from contract_tests.lifetimes import misses
from contract_tests.outage import TTL_SECONDS, Life, Outage
from harness.contracts import contract, needs
from harness.matrix import Cell

pytestmark = needs("history", "context", "ttl", "lock")

TIMEOUT = 5.0
"""Seconds: of stores whose calls wait until another server has taken over, in one or two."""
EVENTS = [
    pytest.param(event, marks=needs(event))
    for event in ("restart", "kill", "power_cut", "failover")
]
SLACK_SECONDS = 0.075
"""By which a lifetime may seem to differ across a start of the server."""
over_events = pytest.mark.parametrize("event", EVENTS, scope="session")


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


@contract("net-5")
@needs("network", "restart")
@pytest.mark.parametrize("event", ["restart"], scope="session")
def test_the_next_call_after_a_restart_works(outages: list[Outage]) -> None:
    """After the server was restarted the next call works, without a new store.

    Look for connections, and for scripts or statements prepared on the server, that are taken
    to be there because they once were.
    """
    for outage in outages:
        assert_answered(outage.first_calls)


@contract("top-1")
@needs("failover")
@pytest.mark.parametrize("event", ["failover"], scope="session")
def test_the_next_call_after_a_failover_works(outages: list[Outage]) -> None:
    """Once another server has taken over the next call works, without a new store.

    Look for connections to a server that writes no more, and for addresses that are looked up
    once and for all.
    """
    for outage in outages:
        assert_answered(outage.first_calls)


def assert_answered(calls: Mapping[str, Outcome]) -> None:
    """Fail unless the calls of stores of every way to construct them were answered in time."""
    assert calls
    for way, call in calls.items():
        assert call.error is None, f"by {way}: {call}"
        assert call.seconds < LONGEST_OUTAGE, f"by {way}: {call}"


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


@contract("ttl-5")
@needs("sessions")
@over_events
def test_a_lifetime_goes_on_while_the_server_is_down(
    outages: list[Outage], event: str, cell: Cell
) -> None:
    """A TTL survives what happens to the server, and goes on meanwhile: it may run out.

    Look for TTLs that are kept in memory only, or stored as a duration instead of a moment.
    """
    all_kept = cell.promises[event].kind == "keeps_all"
    for lasting in (outage.lasting for outage in outages):
        there, given = set(lasting.ends), lasting.given
        assert lasting.listed == there, "what ran out while the server was down is listed"
        if all_kept:
            assert there == {*given} - {OUTLIVED}, "left of sessions, of which one has run out"
        if OUTLIVED not in there:
            assert lasting.first_position == 1, "the session that ran out meanwhile went on"
        for name, ends in lasting.ends.items():
            # Where the promise allows for lost writes, the last one may be lost alone.
            lifetimes = given[name][-1:] if all_kept else given[name]
            faults = [misses(ends, *lifetime, slack=SLACK_SECONDS) for lifetime in lifetimes]
            assert None in faults, f"{name!r} {faults[-1]}"


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
