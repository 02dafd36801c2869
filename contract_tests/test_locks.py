"""lock: one holder at a time, leases that end, and tokens that fence late writers off."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from typing import Protocol

import pytest

from contract_tests.fix_histories import Judge
from contract_tests.fix_processes import PROCESSES
from contract_tests.fix_stores import OpenStore
from contract_tests.holders import LONG, TURNS, hold_in_process, hold_in_turns
from harness.contracts import contract, needs
from harness.crowd import at_once, together
from harness.histories import LockHistory
from harness.inspectors import Inspector
from harness.opening import Opening
from stores.errors import (
    LeaseLost,
    LockNotAcquired,
    OutcomeUnknown,
    StoreError,
    StoreUnavailable,
)
from stores.interface import Lease, MemoryStore, Message

pytestmark = needs("lock")

SESSION = "a guarded session"
SHORT = 0.02
"""A lease to wait out, in seconds. Nothing that a contract checks needs to happen within it."""
LATE = 0.5
"""How late an answer may come on a busy machine, in seconds."""
CROWD = 60
"""Sessions locked at once: of 256 stripes, some two of them share one in 999 of 1000 runs."""
COLLIDING = {
    "CRC-32": ("session nidmovh", "session bubanxn"),
    "Adler-32": ("session 000020", "session 000101"),
    "FNV-1a": ("session 112789", "session 349192"),
    "Java's hashCode": ("session Aa", "session BB"),
    "DJB2": ("session Ab", "session BA"),
    "Postgres's hashtext": ("session 3497", "session 66868"),
}
"""Ids with one 32-bit hash."""


class TakeLock(Protocol):
    """Takes a lock for a holder who never lets go of it."""

    def __call__(self, store: MemoryStore, session_id: str, lease: float) -> Lease: ...


@pytest.fixture
def take_lock(open_store: OpenStore) -> Iterator[TakeLock]:  # noqa: ARG001 - closes after it
    """Take locks whose holders never let go."""
    taken = []

    def take(store: MemoryStore, session_id: str, lease: float) -> Lease:
        taken.append(store.lock(session_id, lease=lease, wait=1))
        return taken[-1].__enter__()

    yield take
    for lock in taken:  # kept until here: a block that is forgotten ends by itself
        with suppress(StoreError):
            lock.__exit__(None, None, None)


def assert_lease_lost(call: Callable[[], object], what: str) -> None:
    """Check that a call is refused with LeaseLost."""
    try:
        call()
    except LeaseLost:
        return
    pytest.fail(f"{what} went through: it must raise LeaseLost")


def assert_held(store: MemoryStore, session_id: str) -> None:
    """Check that nobody gets the lock now."""
    with pytest.raises(LockNotAcquired), store.lock(session_id, lease=LONG, wait=0):
        pass


@contract("lock-1")
@needs("context")
def test_one_holder_among_threads(
    store: MemoryStore, lock_history: LockHistory, judge: Judge
) -> None:
    """One holder at a time among threads or tasks, each with a later token.

    If not: is the lock taken in one step on the server, and only where it is free?
    """
    workers = [f"holder {number}" for number in range(3)]
    together([partial(hold_in_turns, store, lock_history, name, SESSION) for name in workers])
    judge(lock_history)
    assert_counted(store, len(workers) * TURNS)


@contract("lock-1")
@needs("processes")
@needs("context")
def test_one_holder_among_processes(
    store: MemoryStore,
    opening: Opening,
    lock_history: LockHistory,
    judge: Judge,
    worker_processes: ProcessPoolExecutor,
) -> None:
    """One holder at a time among processes, each with a later token.

    If only this fails: does the lock exclude no more than the threads of its own process?
    """
    tasks = [(opening, f"process {number}", SESSION) for number in range(PROCESSES)]
    for record in at_once(worker_processes, hold_in_process, tasks):
        lock_history.include(LockHistory.from_dict(record))
    judge(lock_history)
    assert_counted(store, PROCESSES * TURNS)


def assert_counted(store: MemoryStore, holds: int) -> None:
    """Check that no two holders counted at the same time."""
    context = store.load_context(SESSION)
    assert context is not None
    assert context.value == {"count": holds}


@contract("lock-1")
@pytest.mark.parametrize("wait", [0, 0.03])
def test_waiting_for_a_lock_ends_in_time(store: MemoryStore, wait: float) -> None:
    """Waiting for a lock ends with LockNotAcquired after `wait`, not before and not much later.

    If not: is the time that is left checked at each try, and before each pause?
    """
    with store.lock(SESSION, lease=LONG, wait=0):
        started = time.monotonic()
        with pytest.raises(LockNotAcquired), store.lock(SESSION, lease=LONG, wait=wait):
            pass
        took = time.monotonic() - started
    assert wait <= took < wait + LATE


@contract("lock-1")
def test_failing_under_a_lock_frees_it(store: MemoryStore) -> None:
    """An error in the block reaches the caller, and the lock is free.

    If not: does leaving the block release the lock whatever ended it?
    """
    with pytest.raises(ZeroDivisionError), store.lock(SESSION, lease=LONG, wait=0):
        _ = 1 / 0
    with store.lock(SESSION, lease=LONG, wait=0):
        pass


@contract("lock-2")
def test_expired_lease_is_lost(
    store: MemoryStore, open_store: OpenStore, take_lock: TakeLock
) -> None:
    """Who held an expired lease is told so, and never frees or renews the next holder's lock.

    If not: do renew and release look, in the same step, whose lock it is and until when?
    """
    ends: dict[str, Callable[[], object]] = {}
    for then in ("another holds it", "nobody does"):
        lock = store.lock(f"left, {then}", lease=SHORT, wait=0)
        lock.__enter__()
        ends[f"left, {then}"] = partial(lock.__exit__, None, None, None)
        ends[f"renewed, {then}"] = take_lock(store, f"renewed, {then}", SHORT).renew
        ends[f"released, {then}"] = take_lock(store, f"released, {then}", SHORT).release
    time.sleep(SHORT + 0.01)

    other = open_store()
    taken = [take_lock(other, session_id, LONG) for session_id in ends if "another" in session_id]
    for session_id, end in ends.items():
        assert_lease_lost(end, f"a lease that had run out, and was {session_id},")
    for lease in taken:
        assert_held(store, lease.session_id)
        lease.renew()


@contract("lock-3")
def test_tokens_grow(store: MemoryStore, take_lock: TakeLock) -> None:
    """Fencing tokens grow from holder to holder, whether the last one let go or ran out.

    If not: where is the last token kept, and is it forgotten with the lock?
    """
    tokens = []
    for _ in range(3):
        with store.lock(SESSION, lease=LONG, wait=0) as lease:
            tokens.append(lease.token)
    tokens += [take_lock(store, SESSION, SHORT).token for _ in range(2)]
    assert tokens == sorted(set(tokens)), "each token must be greater than all before"


@contract("lock-3")
@needs("history", "context", "sessions")
def test_write_with_an_old_token_changes_nothing(
    store: MemoryStore, open_store: OpenStore, inspector: Inspector, take_lock: TakeLock
) -> None:
    """A write with an old token is LeaseLost and changes nothing, once a later one was given out.

    If only sessions whose next holder let go or ran out fail: the last token is forgotten with
    the lock. Fencing is for writers that come late, after all that.
    """
    sessions = [
        f"{what} session whose next holder {does}"
        for what in ("a stored", "no")
        for does in ("holds on", "let go", "ran out")
    ]
    old = {session_id: take_lock(store, session_id, SHORT).token for session_id in sessions}
    for session_id in sessions:
        if session_id.startswith("a stored"):
            store.append_message(session_id, Message("user", "before"))
            store.save_context(session_id, {"before": True})

    successor, new = open_store(), {}
    for session_id in sessions:
        lease = take_lock(successor, session_id, SHORT if "ran out" in session_id else LONG)
        new[session_id] = lease.token
        if "let go" in session_id:
            lease.release()
    time.sleep(SHORT + 0.01)

    for session_id in sessions:
        before = _raw(inspector, session_id)
        for name, write in _writes(store, session_id, old[session_id]).items():
            assert_lease_lost(write, f"{name} with an old token to {session_id}")
            assert _raw(inspector, session_id) == before, f"refused, but not whole: {name}"
        for write in _writes(successor, session_id, new[session_id]).values():
            write()


def _writes(store: MemoryStore, session_id: str, token: int) -> dict[str, Callable[[], object]]:
    late, later, latest = (Message("user", "late") for _ in range(3))
    return {
        "append_message": partial(store.append_message, session_id, late, fence=token),
        "append_messages": partial(store.append_messages, session_id, [later, latest], fence=token),
        "save_context": partial(store.save_context, session_id, {"late": True}, fence=token),
        "update_context": partial(store.update_context, session_id, dict, fence=token),
        "delete_session": partial(store.delete_session, session_id, fence=token),
    }


def _raw(inspector: Inspector, session_id: str) -> object:
    present = inspector.present(session_id)
    return present, inspector.messages(session_id), inspector.context(session_id)


@contract("lock-4")
@needs("connections")
def test_holder_whose_connection_dies_learns_it(
    store: MemoryStore, open_store: OpenStore, inspector: Inspector, take_lock: TakeLock
) -> None:
    """A holder whose connection dies still holds the lock, or is told that it does not.

    If not: is the lock bound to a connection, which takes it along when it dies?
    """
    other = open_store()
    lease = take_lock(store, SESSION, LONG)
    brief = store.lock("held briefly", lease=SHORT, wait=0)
    brief.__enter__()
    inspector.kill_clients()
    told = False
    try:
        lease.renew()
    except LeaseLost:
        told = True
    except (StoreUnavailable, OutcomeUnknown):
        pass  # says nothing of the lease, which goes on
    if not told:
        assert_held(other, SESSION)

    successor = take_lock(other, "held briefly", LONG)
    leave = partial(brief.__exit__, None, None, None)
    assert_lease_lost(leave, "leaving a block whose lease ran out after its connection died")
    successor.renew()


@contract("lock-5")
def test_no_two_ids_share_a_lock(store: MemoryStore) -> None:
    """Different sessions never share a lock, also where a 32-bit hash of their ids is the same.

    If not: what is locked, the id or a number made from it?
    """
    session_ids = [session_id for pair in COLLIDING.values() for session_id in pair]
    session_ids += [f"session {number}" for number in range(CROWD)]
    with ExitStack() as held:
        for session_id in session_ids:
            held.enter_context(store.lock(session_id, lease=LONG, wait=0))
