"""net: lost replies, servers out of reach, and replies that come late, in halves or in drops."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import pytest

from contract_tests.calls import LATE, Outcome, answer, attempt, calls_of
from contract_tests.fix_faults import Proxied
from contract_tests.fix_stores import BY_URL, OpenStore
from contract_tests.workload import turn
from harness.contracts import contract, needs
from harness.crowd import together
from harness.faults import FaultProxy
from harness.faults.traffic import Then
from harness.inspectors import Inspector
from harness.matrix import Store
from harness.stalls import stalls
from stores.errors import LockNotAcquired, OutcomeUnknown, StoreError, StoreUnavailable
from stores.interface import Context, MemoryStore, Message

pytestmark = needs("network")

TIMES: Mapping[Then, float] = {"reset": 10, "silence": 1}
"""What comes after a lost reply, and of how many short timeouts the store's timeout is.

After a reset there must be another try; silence lasts as long as the timeout.
"""
LEASES: Mapping[Then, float] = {"reset": 12, "silence": 4}
"""Of how many short timeouts a lease is: so long that a lock taken unawares is seen."""


@dataclass(frozen=True, slots=True)
class Line:
    """A store, connected by way of a proxy of its own."""

    way: str
    proxy: FaultProxy
    store: MemoryStore


class Lines(Protocol):
    """Connects a store for each way to construct it, or only those given."""

    def __call__(self, some: Sequence[str] | None = None, /, *, times: float = 1) -> list[Line]: ...


@pytest.fixture
def lines(
    new_proxied: Callable[[], Proxied], open_store: OpenStore, ways: list[str], timeout: float
) -> Lines:
    """Connect stores, each by way of a proxy of its own, with so many times the short timeout."""

    def connect(some: Sequence[str] | None = None, /, *, times: float = 1) -> list[Line]:
        made = []
        for way in some or ways:
            proxied = new_proxied()
            store = open_store(way=way, url=proxied.url, timeout=times * timeout)
            made.append(Line(way, proxied.proxy, store))
        for line in made:
            answer(line.store.ping)
        return made

    return connect


@contract("net-1")
@needs("history")
def test_an_append_whose_reply_is_lost_is_stored_once(
    lines: Lines, store: MemoryStore, inspector: Inspector, store_row: Store
) -> None:
    """An append whose reply is lost is stored exactly once, and acknowledged or OutcomeUnknown.

    Look for retries of the driver's own, below the store: redis.Redis has ten by default. And
    does the store say "certainly not applied" of what it has sent?
    """
    store.append_message("before", Message("user", "hi"))  # what is prepared, is prepared now
    sizes: Mapping[Then, int] = {"reset": 1, "silence": 2}
    jobs = {
        f"{size} by {line.way}, {then}": (line, size, then)
        for then, size in sizes.items()
        if then == "reset" or "deadlines" not in store_row.lacks  # what waits, waits for ever
        for line in lines(times=TIMES[then])
    }

    def lose(session_id: str, line: Line, size: int, then: Then) -> Outcome:
        with line.proxy.drop_next_reply(then):
            return attempt(line.store.append_messages, session_id, turn("a", 1, size))

    outcomes = together([partial(lose, name, *job) for name, job in jobs.items()])
    for (session_id, (line, size, _)), outcome in zip(jobs.items(), outcomes, strict=True):
        sent = turn("a", 1, size)
        ids = [message.id for message in sent]
        stored = [record.message_id for record in inspector.messages(session_id)]
        assert outcome.unknown or outcome.error is None, f"{session_id}: {outcome}"
        # The reply that was lost may have told of a lost race, and nothing been stored.
        assert stored == ids or (outcome.unknown and not stored), f"{session_id}: {outcome}"
        if "message_ids" in store_row.lacks:
            continue
        again = answer(line.store.append_messages, session_id, sent)
        assert [one.position for one in again.result] == [*range(1, size + 1)], again
        assert [record.message_id for record in inspector.messages(session_id)] == ids, session_id


@dataclass(frozen=True, slots=True)
class Write:
    """A write whose reply gets lost, and what is true once the server has executed it once."""

    prepare: Callable[[MemoryStore, str], object]
    """Write what it needs, with a store whose replies all come."""
    lose: Callable[[MemoryStore, str, Callable[[], object], float], object]
    """Let the next reply get lost, and write; locks have a lease of so many seconds."""
    check: Callable[[MemoryStore, Inspector, str, Outcome, float], object]
    """Assert that it was executed once; or not at all, where its outcome is unknown."""


def prepare_update(store: MemoryStore, session_id: str) -> None:
    store.save_context(session_id, {"n": 0})


def lose_update(
    store: MemoryStore, session_id: str, fault: Callable[[], object], _: float
) -> Context:
    first = [fault]

    def change(value: dict[str, Any]) -> dict[str, Any]:
        if first:
            first.pop()()
        return {"n": value["n"] + 1}

    return store.update_context(session_id, change)


def check_context(
    store: MemoryStore, inspector: Inspector, session_id: str, outcome: Outcome, _: float
) -> None:
    for n in (0, 1):
        store.save_context(f"updated {n} times", {"n": n})
    right = [inspector.context(f"updated {n} times") for n in ((0, 1) if outcome.unknown else (1,))]
    assert inspector.context(session_id) in right, session_id
    assert outcome.unknown or store.load_context(session_id) == outcome.result, session_id


def prepare_deletion(store: MemoryStore, session_id: str) -> None:
    store.append_message(session_id, Message("user", "hi"))
    store.save_context(session_id, {"n": 0})


def lose_deletion(
    store: MemoryStore, session_id: str, fault: Callable[[], object], _: float
) -> bool:
    fault()
    return store.delete_session(session_id)


def check_deletion(
    store: MemoryStore, inspector: Inspector, session_id: str, outcome: Outcome, _: float
) -> None:
    there = inspector.present(session_id)
    if not outcome.unknown:
        assert (outcome.result, there) == (True, False), session_id
    assert store.delete_session(session_id) is there, session_id


def prepare_lock(store: MemoryStore, session_id: str) -> None:
    with store.lock(session_id, lease=10, wait=0):
        pass


def lose_acquisition(
    store: MemoryStore, session_id: str, fault: Callable[[], object], seconds: float
) -> None:
    fault()
    with store.lock(session_id, lease=seconds, wait=0) as lease:
        with pytest.raises(LockNotAcquired), store.lock(session_id, lease=seconds, wait=0):
            pass
        lease.renew()


def lose_release(
    store: MemoryStore, session_id: str, fault: Callable[[], object], seconds: float
) -> None:
    with store.lock(session_id, lease=seconds, wait=0):
        fault()


def check_lock(
    store: MemoryStore, _: Inspector, session_id: str, outcome: Outcome, seconds: float
) -> None:
    with store.lock(session_id, lease=seconds, wait=seconds if outcome.unknown else 0):
        pass


WRITES = {
    "update_context": Write(prepare_update, lose_update, check_context),
    "delete_session": Write(prepare_deletion, lose_deletion, check_deletion),
    "lock's acquisition": Write(prepare_lock, lose_acquisition, check_lock),
    "lock's release": Write(prepare_lock, lose_release, check_lock),
}


@contract("net-2")
@needs("history", "context", "sessions", "lock")
def test_a_write_whose_reply_is_lost_happens_once(
    lines: Lines, store: MemoryStore, inspector: Inspector, timeout: float
) -> None:
    """An update, deletion, lock or release whose reply is lost happens once, or OutcomeUnknown.

    Look for a second try that meets the first one's work: its own lock, its own update.
    """
    jobs = {
        f"{name} by {line.way}, {then}": (line, WRITES[name], then)
        for name in WRITES
        for then in TIMES
        for line in lines(None if then == "reset" else [BY_URL], times=TIMES[then])
    }
    for session_id, (_, write, _) in jobs.items():
        write.prepare(store, session_id)

    def lose(session_id: str, line: Line, write: Write, then: Then) -> Outcome:
        lost = False
        with ExitStack() as until_answered:

            def fault() -> None:
                nonlocal lost
                lost = True
                until_answered.enter_context(line.proxy.drop_next_reply(then))

            def until_lost() -> object:
                return write.lose(line.store, session_id, fault, timeout * LEASES[then])

            # What comes before the fault may lose all its races against the other jobs.
            return answer(until_lost, until=lambda: lost)

    outcomes = together([partial(lose, name, *job) for name, job in jobs.items()])
    for (session_id, (_, write, then)), outcome in zip(jobs.items(), outcomes, strict=True):
        assert outcome.unknown or outcome.error is None, f"{session_id}: {outcome}"
        write.check(store, inspector, session_id, outcome, timeout * LEASES[then])


@contract("net-3")
@needs("own_connections")
@pytest.mark.parametrize("fault", ["refused", "silent", "deaf"])
def test_every_call_says_that_the_server_is_out_of_reach(
    proxied: Proxied,
    open_store: OpenStore,
    ways: list[str],
    store_row: Store,
    timeout: float,
    fault: str,
) -> None:
    """While no connection can be made every call raises StoreUnavailable, within its timeout.

    Refused, accepted and then silent, and not even accepted. Look for `except` clauses that
    answer with None, [] or False, for timeouts that do not cover connecting and logging in,
    and for tries that start when no time is left.
    """
    calls = calls_of(store_row)
    jobs: dict[str, Callable[[], object]] = {}
    # Pools of others' go on for a second after a server that was deaf, when they are closed.
    for way in [BY_URL] if fault == "deaf" else ways:
        store = open_store(way=way, url=proxied.url, timeout=timeout, max_connections=len(calls))
        jobs |= {f"{name} by {way}": partial(calls[name].make, store, "s") for name in calls}
    faults = {
        "refused": proxied.proxy.refuse,
        "silent": proxied.proxy.blackhole,
        "deaf": proxied.proxy.ignore,
    }
    with faults[fault](), stalls() as stalled:
        outcomes = together([partial(attempt, job) for job in jobs.values()])
    found = dict(zip(jobs, outcomes, strict=True))
    # Where errors do not tell, an error is all that can be asked for.
    right = StoreError if "certainty" in store_row.lacks else StoreUnavailable
    wrong = {name: one.fault(right) for name, one in found.items()}
    assert not {name: fault for name, fault in wrong.items() if fault}
    if "deadlines" in store_row.lacks:
        return
    limit = timeout + LATE + stalled.seconds
    slow = {name: one.seconds for name, one in found.items() if one.seconds > limit}
    assert not slow, f"later than the timeout of {timeout:.2f} s ({stalled})"


SLOW: Mapping[str, Callable[[FaultProxy, float], AbstractContextManager[None]]] = {
    "late": lambda proxy, timeout: proxy.delay(2 * timeout),
    "halved": lambda proxy, _: proxy.half_reply("silence"),
    "halved and reset": lambda proxy, _: proxy.half_reply("reset"),
    "dripping": lambda proxy, timeout: proxy.drip(timeout / 4),
}
ASKED: Mapping[str, Callable[[MemoryStore, str], Any]] = {
    "append": lambda store, one: store.append_messages(one, turn("a", 1, 2)),
    "history": lambda store, _: store.get_history("known"),
}
EVERY_WAY = {("append", "late"), ("history", "dripping")}
"""Asked of stores however constructed; the others of those by URL."""


@contract("net-4")
@needs("history", "context")
def test_a_slow_reply_is_an_error_in_time_and_never_anothers_answer(
    lines: Lines, store: MemoryStore, inspector: Inspector, timeout: float
) -> None:
    """A reply that is late, halved or dripping is an error in time, and no other call's answer.

    Look for timeouts that start anew with every byte, and for connections that are used again
    while the reply to an earlier call is still under way on them.
    """
    known = store.append_messages("known", turn("known", 1, 3))
    context = Context({"a": "context"}, store.save_context("known", {"a": "context"}))
    jobs = {
        f"{asked}, {slow} by {line.way}": (line, slow, asked)
        for slow in SLOW
        for asked in ASKED
        if (asked, slow) != ("append", "halved and reset")
        for line in lines(None if (asked, slow) in EVERY_WAY else [BY_URL])
    }

    def ask(session_id: str, line: Line, slow: str, asked: str) -> tuple[Outcome, ...]:
        with SLOW[slow](line.proxy, timeout):
            outcome = attempt(ASKED[asked], line.store, session_id)
            # While this call waits, the other's reply arrives.
            at_once = attempt(line.store.load_context, "known")
        return outcome, at_once

    with stalls() as stalled:
        outcomes = together([partial(ask, name, *job) for name, job in jobs.items()])
    for (name, (line, slow, asked)), found in zip(jobs.items(), outcomes, strict=True):
        outcome, at_once = found
        # One after the other: all at once they would keep each other from connecting in time.
        following = answer(line.store.load_context, "known")
        if asked == "append" and isinstance(outcome.error, StoreUnavailable):
            # The machine stalled before the call had left.
            assert not inspector.messages(name), f"{name}: stored, and {outcome}"
        elif slow == "late" and stalled.seconds > timeout:
            # It may have been there when the machine let the store look.
            assert outcome.error is None or not outcome.fault((OutcomeUnknown, StoreUnavailable))
        elif slow != "halved and reset":  # after which there is time for another try
            expected = OutcomeUnknown if asked == "append" else StoreUnavailable
            assert not outcome.fault(expected), f"{name}: {outcome}"
        limit = timeout + LATE + stalled.seconds
        assert outcome.seconds < limit, f"{name}: {outcome} ({stalled})"
        assert at_once.result == context or isinstance(at_once.error, StoreUnavailable), (
            f"{name}, and the next call gets another's reply: {at_once}"
        )
        assert following.result == context, f"{name}, and after it: {following}"
        if asked == "append":
            store.append_messages(name, turn("a", 1, 2))
            assert len(inspector.messages(name)) == 2, f"{name}: not stored once"
        else:
            assert outcome.result in (None, known), f"{name}: {outcome}"
