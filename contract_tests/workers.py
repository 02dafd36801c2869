"""What contracts do in other processes: functions that a pool can import."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from contract_tests import workload
from contract_tests.workload import LONG_TURNS
from harness.crowd import meet, together
from harness.faces import LoopThread
from harness.histories import History, HistoryRecord
from harness.opening import Opening
from stores.interface import MemoryStore, Message, StoredMessage


@contextmanager
def opened(opening: Opening) -> Iterator[MemoryStore]:
    """Open the store under test in this process, on a loop of its own if it is async."""
    loop = LoopThread()
    try:
        with opening.open(loop) as store:
            yield store
    finally:
        loop.stop()


def write_and_read(
    opening: Opening, worker: str, session_id: str, *, repeated: bool
) -> HistoryRecord:
    """Write as all others do at the same time, with reads in between; return what came of it."""
    history = History(0)
    with opened(opening) as store:
        store.ping()
        meet()
        together(
            [
                lambda: workload.write(
                    store, history, worker, session_id, LONG_TURNS, repeated=repeated
                ),
                lambda: workload.read(store, history, f"{worker}'s reader", session_id, [None] * 6),
            ]
        )
    return history.to_dict()


def use_first(opening: Opening, worker: str, session_id: str) -> list[StoredMessage]:
    """Make the first two calls of a store at once, together with other processes."""
    first, second = (Message("user", f"{worker} {part}", id=f"{worker}-{part}") for part in (1, 2))
    with opened(opening) as store:
        return together(
            [
                lambda: store.append_message(session_id, first),
                lambda: store.append_message(session_id, second),
            ]
        )


def add_keys(
    store: MemoryStore, session_id: str, writer: int, rounds: int, come: Callable[[], None]
) -> list[int]:
    """Add keys of one's own to a context, one an update; return the versions given.

    Each round's first `change` calls ``come`` after the context was read.
    """
    versions = []
    for turn in range(rounds):
        fresh = [come]

        def change(context: dict[str, Any], turn: int = turn, fresh: Any = fresh) -> dict[str, Any]:
            if fresh:
                fresh.pop()()
            return context | {f"{writer}.{turn}": turn}

        context = store.update_context(session_id, change)
        assert f"{writer}.{turn}" in context.value
        versions.append(context.version)
    return versions


def update_together(opening: Opening, session_id: str, writer: int, rounds: int) -> None:
    """Add keys of one's own to a context while other processes do so too."""
    with opened(opening) as store:
        store.ping()
        meet()
        add_keys(store, session_id, writer, rounds, lambda: None)
