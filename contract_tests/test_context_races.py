"""ctx: contexts under many writers at once, and reads that see one moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from functools import partial

from contract_tests.fix_processes import PROCESSES
from contract_tests.fix_stores import OpenStore
from contract_tests.workers import add_keys, update_together
from harness.contracts import contract, needs
from harness.crowd import at_once, together
from harness.opening import Opening
from stores.interface import MemoryStore, Message, Session

pytestmark = needs("context")

SESSION = "a session"
WRITERS = 4
MEETING_SECONDS = 0.2
"""How long writers wait for one another: a store that lets one in at a time is fine too."""


class Meeting:
    """Lets N writers read the same version before any of them saves."""

    def __init__(self, writers: int) -> None:
        self._barrier = threading.Barrier(writers)

    def come(self) -> None:
        """Wait for the others; go on alone if they cannot come."""
        with suppress(threading.BrokenBarrierError):
            self._barrier.wait(MEETING_SECONDS)


def assert_all_kept(store: MemoryStore, writers: int, rounds: int) -> None:
    """Compare the keys that are there with those that were acknowledged."""
    context = store.load_context(SESSION)
    assert context is not None
    wanted = {f"{writer}.{turn}": turn for writer in range(writers) for turn in range(rounds)}
    lost = sorted(set(wanted) - set(context.value))
    assert not lost, f"{len(lost)} of {len(wanted)} acknowledged updates were lost: {lost}"
    assert context.value == wanted


@contract("ctx-3")
def test_updates_of_disjoint_keys_are_all_kept(store: MemoryStore, open_store: OpenStore) -> None:
    """update_context from N threads or tasks on disjoint keys keeps all of them.

    Whether saving is guarded by the version read, and a lost try is tried again.
    """
    # All writers of a round have read before the first one saves: without a guard, one
    # round keeps one key of four, whatever the timing. A guard that is a step of its own
    # before the save needs luck to show, so there are six rounds.
    rounds, meeting = 6, Meeting(WRITERS)
    stores = [store, open_store()]

    def write(writer: int) -> list[int]:
        return add_keys(stores[writer % 2], SESSION, writer, rounds, meeting.come)

    versions = together([partial(write, writer) for writer in range(WRITERS)])
    assert_all_kept(store, WRITERS, rounds)
    for own in versions:
        assert own == sorted(own)
    assert len({version for own in versions for version in own}) == WRITERS * rounds


@contract("ctx-3")
@needs("processes")
def test_updates_of_processes_are_all_kept(
    store: MemoryStore, opening: Opening, worker_processes: ProcessPoolExecutor
) -> None:
    """update_context from several processes on disjoint keys keeps all of them.

    Whether the guard is on the server: a lock in the client excludes no other process.
    """
    rounds = 10
    at_once(
        worker_processes,
        update_together,
        [(opening, SESSION, writer, rounds) for writer in range(PROCESSES)],
    )
    assert_all_kept(store, PROCESSES, rounds)


@contract("ctx-4")
@needs("isolation_levels", "history")
def test_no_isolation_level_reaches_the_caller(store: MemoryStore, open_store: OpenStore) -> None:
    """Writers of one session meet no serialization failure or deadlock, and lose nothing.

    Whether the adapter tries 40001 and 40P01 again, and which statements make them.
    """
    rounds, turns, meeting = 5, 10, Meeting(2)
    other = open_store()
    jobs: list[Callable[[], None]] = []

    def update(writer: int) -> None:
        add_keys((store, other)[writer], SESSION, writer, rounds, meeting.come)

    def append(writer: int) -> None:
        for turn in range(turns):
            messages = [Message("user", f"{writer}.{turn}.{part}") for part in range(2)]
            (other, store)[writer].append_messages(SESSION, messages)

    def write(job: Callable[[int], None], writer: int) -> None:
        try:
            job(writer)
        finally:
            jobs.pop()

    def read() -> None:
        while jobs:
            store.load_session(SESSION, None)

    jobs += [partial(write, job, writer) for job in (update, append) for writer in range(2)]
    together([*jobs, read])
    assert_all_kept(store, 2, rounds)
    said = [message.content for message in store.get_history(SESSION, None)]
    assert sorted(said) == sorted(
        f"{writer}.{turn}.{part}" for writer in range(2) for turn in range(turns) for part in (0, 1)
    )
    for writer in range(2):
        own = [text for text in said if text.startswith(f"{writer}.")]
        assert own == [f"{writer}.{turn}.{part}" for turn in range(turns) for part in (0, 1)]


@contract("ctx-5")
@needs("history")
def test_a_session_is_read_as_of_one_moment(store: MemoryStore, open_store: OpenStore) -> None:
    """load_session gives a context and a history of one moment, while turns come and go.

    Whether it is one call to the server that sees one snapshot, rather than two reads.
    """
    # Each life of the session is written in two steps and deleted in one. Two reads with
    # the delete between them show the second step without the first, which never was.
    # Which read comes first decides in which lives, so they take turns. Two reads were
    # caught 4 to 59 times in 60 lives on two cores.
    lives, writer, ended = 30, open_store(), threading.Event()

    def live() -> list[Session]:
        try:
            for life in range(lives):
                if life % 2:
                    writer.append_message(SESSION, Message("user", f"{life}"))
                writer.save_context(SESSION, {"life": f"{life}"})
                if not life % 2:
                    writer.append_message(SESSION, Message("user", f"{life}"))
                writer.delete_session(SESSION)
        finally:
            ended.set()
        return []

    def read() -> list[Session]:
        seen: list[Session] = []
        while not ended.is_set():
            session = store.load_session(SESSION)
            if session is not None:
                seen.append(session)
        return seen

    for session in [session for seen in together([live, read, read]) for session in seen]:
        history = [message.content for message in session.history]
        context = [session.context.value["life"]] if session.context else []
        lives_seen = {*history, *context}
        assert len(lives_seen) == 1, f"of two lives: {session}"
        first = history if int(lives_seen.pop()) % 2 else context
        assert first, f"the second step without the first: {session}"
