"""con: many writers at once, in threads, tasks and processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

from contract_tests import workers, workload
from contract_tests.fix_histories import Judge
from contract_tests.fix_processes import PROCESSES
from contract_tests.fix_stores import OpenStore
from harness.contracts import contract, needs
from harness.crowd import at_once, together
from harness.histories import History, check_updates, explain
from harness.inspectors import Inspector
from harness.matrix import Store
from harness.opening import Opening
from harness.servers import Server
from stores.interface import MemoryStore, Message, StoredMessage

pytestmark = needs("history")

SESSION = "a busy session"


def assert_nothing_is_mixed_up(
    store: MemoryStore, writers: Sequence[str], turns: Sequence[int], *, repeated: bool
) -> None:
    """Check that every message has the content that its own writer gave it."""
    found = {message.id: message.content for message in store.get_history(SESSION, None)}
    assert found == workload.sent(writers, turns, repeated=repeated)


@contract("con-1")
def test_concurrent_appends_and_reads_have_one_order(
    store: MemoryStore, inspector: Inspector, history: History, judge: Judge, store_row: Store
) -> None:
    """Concurrent appends are neither lost, doubled, reordered, invented nor torn.

    Each read is a prefix of the final order. If not: is the position given by the server, in the
    same step that stores the message, and does a read come from one moment?
    """
    writers = [f"writer {number}" for number in range(1, 5)]
    repeated = "message_ids" not in store_row.lacks
    write = partial(workload.write, store, history, repeated=repeated)
    together(
        [
            *(partial(write, writer, SESSION) for writer in writers),
            partial(workload.read, store, history, "reader", SESSION, [None] * 6),
            partial(workload.read, store, history, "newest", SESSION, [3] * 6),
        ]
    )
    history.final((raw.position, raw.message_id) for raw in inspector.messages(SESSION))
    judge(history)
    assert_nothing_is_mixed_up(store, writers, workload.TURNS, repeated=repeated)


@contract("con-2")
@needs("processes")
def test_processes_that_append_at_once_have_one_order(
    store: MemoryStore,
    opening: Opening,
    inspector: Inspector,
    history: History,
    judge: Judge,
    worker_processes: ProcessPoolExecutor,
    store_row: Store,
) -> None:
    """Separate processes append to one session as threads do: in one order, with nothing lost.

    If only this fails and not con-1: what does the store guard with a lock of its own process?
    """
    writers = [f"process {number}" for number in range(1, PROCESSES + 1)]
    repeated = "message_ids" not in store_row.lacks
    write = partial(workers.write_and_read, repeated=repeated)
    tasks = [(opening, writer, SESSION) for writer in writers]
    for record in at_once(worker_processes, write, tasks):
        history.include(History.from_dict(record))
    history.final((raw.position, raw.message_id) for raw in inspector.messages(SESSION))
    judge(history)
    assert_nothing_is_mixed_up(store, writers, workload.LONG_TURNS, repeated=repeated)


@contract("con-3")
@needs("processes", "own_setup")
def test_first_use_from_many_processes_at_once(
    opening: Opening,
    open_store: OpenStore,
    inspector: Inspector,
    worker_processes: ProcessPoolExecutor,
) -> None:
    """The first calls ever, made by many processes at once, all succeed.

    If not: is the schema created under a lock that other processes respect, and in one
    transaction, so that nobody meets half of it?
    """
    url = inspector.fresh_url()
    tasks = [
        (replace(opening, url=url), f"process {number}", SESSION) for number in range(PROCESSES)
    ]
    answers = at_once(worker_processes, workers.use_first, tasks)

    acknowledged = [stored for answer in answers for stored in answer]
    by_position = sorted(acknowledged, key=lambda stored: stored.position)
    assert [stored.position for stored in by_position] == list(range(1, 2 * PROCESSES + 1))
    assert open_store(url=url).get_history(SESSION) == by_position


@contract("con-4")
@needs("context", "crowds")
def test_opposite_orders_do_not_deadlock(store: MemoryStore, server: Server) -> None:
    """Writers that touch two sessions in opposite order get through, without a deadlock.

    If not: which call holds one session's lock while it waits for another's? A store that
    tries again after a deadlock gets through too, but only after the server's deadlock timeout.
    """
    deadlocks = _deadlocks(server)
    there, back = ("session a", "session b"), ("session b", "session a")

    def touch(writer: str, order: Sequence[str]) -> None:
        for number in range(3):
            for session_id in order:
                store.append_messages(session_id, workload.turn(writer, number, 2))
                store.save_context(session_id, {writer: number})

    together([partial(touch, f"{n}", there if n % 2 else back) for n in range(8)])
    for session_id in there:
        assert len(store.get_history(session_id, None)) == 8 * 3 * 2
    assert _deadlocks(server) == deadlocks, "the server had to break a deadlock: see its log"


def _deadlocks(server: Server) -> int:
    return server.logs().lower().count("deadlock detected")


@contract("con-4")
@needs("context", "crowds")
def test_fifty_writers_of_one_session_all_get_through(store: MemoryStore) -> None:
    """Fifty writers of one session's context and history are all served, in bounded tries.

    Each lost try of `update_context` means that another writer's save went through, so
    none may need more tries than there are saves. If not: does a try fail for other reasons?
    """
    names = [f"writer {number}" for number in range(50)]
    tries = dict.fromkeys(names, 0)

    def work(name: str) -> StoredMessage:
        def change(value: dict[str, Any]) -> dict[str, Any]:
            tries[name] += 1
            return {**value, name: True}

        store.update_context(SESSION, change)
        return store.append_message(SESSION, Message("user", name, id=name))

    jobs: list[Callable[[], StoredMessage]] = [partial(work, name) for name in names]
    positions = sorted(stored.position for stored in together(jobs))

    assert positions == list(range(1, 51))
    context = store.load_context(SESSION)
    assert context is not None
    violations = check_updates(context.value, acknowledged=names)
    assert not violations, explain(violations)
    assert max(tries.values()) <= len(names), f"tries of each writer: {tries}"
