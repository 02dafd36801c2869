"""evi: servers that forget sessions when their memory is full."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from itertools import pairwise

import pytest

from contract_tests.filling import KILOBYTE, fill
from contract_tests.fix_report import Measure
from contract_tests.fix_stores import OpenStore
from contract_tests.visits import raw
from contract_tests.workload import turn
from harness.contracts import contract, needs
from harness.crowd import together
from harness.faults.states import States
from harness.inspectors import Inspector
from stores.errors import Conflict, LeaseLost, NoSuchSession, StoreFull
from stores.interface import MemoryStore, Message

pytestmark = [
    needs("memory_pressure", "eviction"),
    needs("history", "context", "sessions", "ttl", "lock"),
]

TTL = 3600.0
"""Seconds: volatile policies forget only sessions that have one. As long as that of locks."""
LONG_AGO = 3590
"""Seconds, out of use: what is so old is forgotten before all that other contracts left."""
SIZE = 8 * KILOBYTE
SESSIONS = 48
ROUNDS_AT_MOST = 80
"""Of writes, until older data of others is gone and a session of these is forgotten."""


def talk(store: MemoryStore, *names: str) -> None:
    """Store a turn of three messages in each session, and then a context that goes with it."""
    for name in names:
        messages = turn(name, 1, 3)
        padded = [Message(one.role, one.content + " " * (SIZE // 3), one.id) for one in messages]
        store.append_messages(name, padded)
    for name in names:
        store.save_context(name, {"turns": 1})


@contract("evi-1")
def test_a_session_is_whole_or_gone(
    open_store: OpenStore, inspector: Inspector, states: States, namespace: str, measure: Measure
) -> None:
    """Under pressure a session is whole or gone: history, context and TTL go together.

    Look for a session that lies under several keys, of which the server forgets one.
    """
    store = open_store()
    lasting = [f"lasting {number}" for number in range(SESSIONS // 2)]
    expiring = [f"expiring {number}" for number in range(SESSIONS // 2)]
    names = [*lasting, *expiring]
    together(
        [partial(talk, store, *lasting), partial(talk, open_store(ttl=TTL), *expiring)],
    )
    before = {name: raw(inspector, name) for name in names}
    states.age(namespace, LONG_AGO)
    with states.memory_limit(-SESSIONS * SIZE // 3):
        store.ping()
    after = {name: raw(inspector, name) for name in names}
    read = {name: (store.load_session(name), store.load_context(name)) for name in names}
    gone = {name for name in names if not after[name]}
    measure(
        "pressure",
        of="memory",
        acknowledged=3 * len(names),
        kept=3 * (len(names) - len(gone)),
        refused=0,
        forgotten_lasting=len(gone.intersection(lasting)),
        forgotten_expiring=len(gone.intersection(expiring)),
        lost=3 * len(gone),
        lost_seconds=0.0,
    )
    assert gone, "the memory was full, and nothing was forgotten"
    torn = {name for name in names if name not in gone and after[name] != before[name]}
    assert not torn, f"{len(torn)} of {len(names) - len(gone)} sessions are torn"
    for name, (session, context) in read.items():
        assert (session is None) == (context is None) == (name in gone), name
        if session is not None:
            assert [one.id for one in session.history] == [one.id for one in turn(name, 1, 3)]
            assert session.context == context
            assert context is not None
            assert context.value == {"turns": 1}


@contract("evi-1")
def test_sessions_that_are_written_to_are_whole_or_begin_anew(
    open_store: OpenStore, inspector: Inspector, states: States
) -> None:
    """Under pressure a write continues a whole session, or begins one anew at position 1.

    Look for a position that comes from another key than the messages, and for one that the
    client remembers.
    """
    store = open_store(ttl=TTL)
    lives: dict[str, list[int]] = {f"{worker}{part}": [] for worker in "abc" for part in range(8)}

    def write(worker: str, number: int) -> None:
        for name in (name for name in lives if name.startswith(worker)):
            messages = turn(name, number, 2)
            said = [Message(one.role, one.content + " " * SIZE, one.id) for one in messages]
            with suppress(StoreFull):  # what the server cannot forget in time
                stored = store.append_messages(name, said)
                lives[name].extend(one.position for one in stored)

    with states.memory_limit(768 * KILOBYTE):  # so that some of them are forgotten, and not all
        for number in range(ROUNDS_AT_MOST):
            together([partial(write, worker, number) for worker in "abc"])
            kept = {name: [raw.position for raw in inspector.messages(name)] for name in lives}
            anew = [name for name, positions in lives.items() if 1 in positions[1:]]
            if len(anew) > len(lives) // 4:
                break
    for name, positions in lives.items():
        for last, position in pairwise([0, *positions]):
            assert position in (1, last + 1), f"{name}: {positions}"
        whole = [*range(1, positions[-1] + 1)] if positions else []
        assert kept[name] in ([], whole), f"{name}: {positions}, and {kept[name]} are there"
    assert anew, "the memory was full, and none of these was forgotten"


@contract("evi-2")
@needs("lasting_sessions")
def test_sessions_without_a_ttl_are_never_forgotten(
    store: MemoryStore, open_store: OpenStore, inspector: Inspector, states: States, namespace: str
) -> None:
    """Sessions without a TTL are never forgotten; when nothing else can go, writes are StoreFull.

    Look for a TTL that the store sets though it has none, on the session or on a part of it.
    """
    names = [f"session {number}" for number in range(10)]
    expiring = open_store(ttl=TTL)
    for name in names:
        talk(store, f"lasting {name}")
        talk(expiring, f"expiring {name}")
    before = {name: raw(inspector, f"lasting {name}") for name in names}
    states.age(namespace, LONG_AGO)
    with states.memory_limit(128 * KILOBYTE):
        filling = fill(store, 64 * KILOBYTE, most=200)
    assert filling.errors == {StoreFull}
    loss = filling.loss(inspector)
    assert not loss.lost
    assert not loss.violations
    assert {name: raw(inspector, f"lasting {name}") for name in names} == before
    gone = [name for name in names if not inspector.present(f"expiring {name}")]
    assert gone == names, "writes were refused although sessions with a TTL could go"


def forget(inspector: Inspector, states: States, namespace: str, session_id: str) -> None:
    """Put pressure on until nothing is left of a session, its lock included."""
    owner = inspector.owner_of(session_id)
    states.age(namespace, LONG_AGO)
    for _ in range(50):
        if not any(key.startswith(owner) for key in inspector.everything()):
            return
        with states.memory_limit(-2 * SIZE):
            pass
    pytest.fail("the server does not forget it")


@contract("evi-3")
@contract("lock-3")
@needs("raw_records")
def test_a_forgotten_session_is_absent_and_begins_anew(
    open_store: OpenStore, inspector: Inspector, states: States, namespace: str
) -> None:
    """A forgotten session reads as absent and begins again at position 1; its tokens still grow.

    Look for what a store keeps of a session elsewhere: a list of ids, a counter, a set of
    message ids, a fencing token that begins at 1 again.
    """
    store = open_store(ttl=TTL)
    name = "a session"
    with store.lock(name, lease=5, wait=0) as lease:
        talk(store, name)
        store.append_message(name, Message("user", "fenced"), fence=lease.token)
        old = lease.token
    known = store.load_context(name)
    assert known is not None
    forget(inspector, states, namespace, name)

    assert store.get_history(name) == []
    assert store.load_context(name) is None
    assert store.load_session(name) is None
    assert name not in store.iter_sessions()
    assert store.delete_session(name) is False
    for call in (partial(store.set_ttl, name, 60), partial(store.get_ttl, name)):
        with pytest.raises(NoSuchSession):
            call()
    with pytest.raises(Conflict):
        store.save_context(name, {"late": True}, if_version=known.version)

    again = store.append_messages(name, turn(name, 1, 3))
    assert [one.position for one in again] == [1, 2, 3]
    session = store.load_session(name)
    assert session is not None
    assert session.history == again
    assert session.context is None
    left = inspector.ttl(name)
    assert left is not None
    assert left > TTL - 60
    assert store.save_context(name, {"new": True}) > known.version
    with store.lock(name, lease=5, wait=0) as lease:
        assert lease.token > old, "a fencing token came again"
        with pytest.raises(LeaseLost):
            store.append_message(name, Message("user", "late"), fence=old)


@contract("evi-3")
@needs("raw_records")
def test_a_forgotten_lock_is_lost(
    open_store: OpenStore, inspector: Inspector, states: States, namespace: str
) -> None:
    """Whose lock was forgotten is told so, and writes no more once the next one has it.

    Look for a release or a renewal that does not look whose the lock is.
    """
    store, other = open_store(ttl=TTL), open_store(ttl=TTL)
    name = "a session"
    lock = store.lock(name, lease=30, wait=0)
    lease = lock.__enter__()
    store.append_message(name, Message("user", "hi" + " " * SIZE))
    forget(inspector, states, namespace, name)
    with pytest.raises(LeaseLost):
        lease.renew()
    with other.lock(name, lease=30, wait=0) as later:
        assert later.token > lease.token
        with pytest.raises(LeaseLost):
            store.append_message(name, Message("user", "late"), fence=lease.token)
        with pytest.raises(LeaseLost):
            lock.__exit__(None, None, None)
        later.renew()
    assert store.get_history(name) == []


HOT, COLD, FORGOTTEN = 16, 48, 36
"""Sessions in use, out of use, and to be forgotten. The server looks at 64 keys, or at all if
there are fewer, and forgets the one out of use the longest: while some of the 48 are left, it is
none of the 16, so there is no false alarm. One that chose by chance would spare all 16 once in
10 million runs."""


@contract("evi-4")
@needs("recency")
def test_sessions_in_use_are_forgotten_last(
    open_store: OpenStore, inspector: Inspector, states: States, namespace: str
) -> None:
    """Of sessions of one age, those that are read are kept, beyond chance.

    Look for reads that the server never sees, because a copy answers them.
    """
    store = open_store(ttl=TTL)
    size = 32 * KILOBYTE
    hot = [f"hot {number}" for number in range(HOT)]
    cold = [f"cold {number}" for number in range(COLD)]

    def say(names: list[str]) -> None:
        for name in names:
            store.append_message(name, Message("user", "x" * size))

    together([partial(say, names) for names in (hot, cold[::2], cold[1::2])])
    states.age(namespace, LONG_AGO)
    for name in hot[::2]:
        store.get_history(name)
    for name in hot[1::2]:
        store.load_session(name)
    with states.memory_limit(-FORGOTTEN * size):
        present = {name for name in (*hot, *cold) if inspector.present(name)}
    assert len(present.intersection(cold)) < COLD, "the memory was full, and nothing was forgotten"
    assert present.issuperset(hot), f"forgotten although in use: {set(hot) - present}"
