"""What concurrent workers do to one session, in threads, tasks and processes alike."""

from __future__ import annotations

from collections.abc import Sequence

from harness.histories import History
from stores.interface import MemoryStore, Message

TURNS = (1, 3, 1, 2, 1)
"""Messages of each turn of a writer: single ones and batches.

Four threads with so many show a store that reads, merges and writes in 20 of 20 runs.
"""
LONG_TURNS = 4 * TURNS
"""For processes, which a busy machine starts one after the other: 5 turns show it in 18 of 20."""
OPENING = Message("system", "said by all, at once", id="opening")
"""Every writer begins with it: appending an id again stores nothing."""


def turn(worker: str, number: int, size: int) -> list[Message]:
    """Return a turn whose ids and contents tell who made it, and when."""
    return [
        Message("user", f"{worker} said {number}.{part}", id=f"{worker}-{number}-{part}")
        for part in range(1, size + 1)
    ]


def sent(
    workers: Sequence[str], turns: Sequence[int] = TURNS, *, repeated: bool = True
) -> dict[str, str]:
    """Return the content of each message id that the writers append."""
    messages = [
        message
        for worker in workers
        for number, size in enumerate(turns)
        for message in turn(worker, number, size)
    ]
    said = [OPENING, *messages] if repeated else messages
    return {message.id: message.content for message in said}


def write(
    store: MemoryStore,
    history: History,
    worker: str,
    session_id: str,
    turns: Sequence[int] = TURNS,
    *,
    repeated: bool = True,
) -> None:
    """Append the opening, and then turns of one's own, each as soon as the last is there.

    Only the opening is ``repeated``: all writers append it.
    """
    opening = [[OPENING]] if repeated else []
    batches = [*opening, *(turn(worker, number, size) for number, size in enumerate(turns))]
    for messages in batches:
        with history.append(worker, [message.id for message in messages]) as call:
            if len(messages) == 1:
                stored = [store.append_message(session_id, messages[0])]
            else:
                stored = store.append_messages(session_id, messages)
            call.acknowledged(message.position for message in stored)


def read(
    store: MemoryStore, history: History, worker: str, session_id: str, limits: Sequence[int | None]
) -> None:
    """Read the history over and over, whole or its newest few."""
    for limit in limits:
        with history.read(worker, limit=limit) as call:
            found = store.get_history(session_id, limit)
            call.acknowledged((message.position, message.id) for message in found)
