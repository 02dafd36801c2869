"""conv: order, limit and identity of a session's messages."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from contract_tests.fix_stores import OpenStore
from harness.contracts import contract, needs
from harness.crowd import together
from harness.inspectors import Inspector
from stores.errors import Conflict, NotSerializable, RecordTooLarge
from stores.interface import MemoryStore, Message, StoredMessage

pytestmark = needs("history")

SESSION = "a session"
OTHER = "another session"
HUGE = 2**63 - 1
"""Beyond any history, and at the edge of what servers count with."""


def contents(history: list[StoredMessage]) -> list[str]:
    """Return what was said, in the order read."""
    return [message.content for message in history]


@contract("conv-1")
def test_what_is_appended_is_read_back(store: MemoryStore, inspector: Inspector) -> None:
    """What is appended is read back: same content, same order, repeated identical texts kept.

    Whether each append gives the message a place of its own, and text passes unchanged.
    """
    said = [
        Message("user", text) for text in ("hello", "again", "again", "", "bye\n\x00\U0001f44b")
    ]
    for message in said:
        store.append_message(SESSION, message)

    history = store.get_history(SESSION)
    assert [stored.message for stored in history] == said
    assert [stored.position for stored in history] == [1, 2, 3, 4, 5]
    assert [raw.position for raw in inspector.messages(SESSION)] == [1, 2, 3, 4, 5]


@contract("conv-2")
@needs("limits")
def test_limit_gives_the_newest_oldest_first(store: MemoryStore) -> None:
    """`limit` gives the newest n, oldest first; 0, huge and None are defined, negative refused.

    Which end of the history the limit cuts, and what happens at its edges.
    """
    store.append_messages(SESSION, [Message("user", f"{n}") for n in range(1, 6)])
    every = ["1", "2", "3", "4", "5"]
    given = {
        (limit, before): contents(store.get_history(SESSION, limit, before))
        for limit in (0, 1, 3, 6, 2 * HUGE, None)
        for before in (None, 1, 3, 6, 2 * HUGE)
    }
    wanted = {
        (limit, before): ([] if limit == 0 else every[: (before or HUGE) - 1][-(limit or HUGE) :])
        for limit, before in given
    }
    assert given == wanted
    assert contents(store.get_history(SESSION)) == every
    assert store.get_history("never written") == []


@contract("conv-2")
@needs("limits")
def test_a_limit_that_counts_nothing_is_refused(store: MemoryStore) -> None:
    """A negative `limit`, a `before` under 1 or a number of another type is a ValueError.

    Whether the store checks its arguments, instead of leaving them to the server.
    """
    store.append_message(SESSION, Message("user", "hello"))
    limits: list[Any] = [-1, -HUGE, True, 1.0, "1"]
    for limit in limits:
        with pytest.raises(ValueError, match="limit"):
            store.get_history(SESSION, limit)
    places: list[Any] = [0, -1, True, 2.0, "2"]
    for before in places:
        with pytest.raises(ValueError, match="before"):
            store.get_history(SESSION, 1, before)


@contract("conv-5")
def test_batches_of_two_writers_stay_contiguous(
    store: MemoryStore, open_store: OpenStore, inspector: Inspector
) -> None:
    """A batch is contiguous, also when other batches are written at the same time.

    Whether one batch is one atomic step on the server.
    """
    size, rounds = 4, 6

    def write(writer: MemoryStore, name: str) -> list[list[StoredMessage]]:
        return [
            writer.append_messages(
                SESSION, [Message("user", f"{name}{turn}.{part}") for part in range(size)]
            )
            for turn in range(rounds)
        ]

    other = open_store()
    turns = [
        turn
        for written in together([lambda: write(store, "a"), lambda: write(other, "b")])
        for turn in written
    ]
    for turn in turns:
        first = turn[0].position
        assert [message.position for message in turn] == list(range(first, first + size))
    said = sorted((message for turn in turns for message in turn), key=lambda m: m.position)
    assert store.get_history(SESSION, None) == said
    assert len(inspector.messages(SESSION)) == 2 * rounds * size


@contract("conv-5")
def test_a_batch_with_a_bad_message_stores_none_of_it(
    store: MemoryStore, inspector: Inspector
) -> None:
    """A batch whose 2nd message cannot be stored leaves nothing of it, not even the 1st.

    Whether messages are turned into records one by one, each as it is sent.
    """
    first = store.append_message(SESSION, Message("user", "known"))
    bad = Message("user", "second", metadata={"key": object()})
    with pytest.raises(NotSerializable):
        store.append_messages(SESSION, [Message("user", "first"), bad])
    assert contents(store.get_history(SESSION)) == ["known"]
    assert [raw.position for raw in inspector.messages(SESSION)] == [first.position]


@contract("conv-5")
@needs("message_ids")
def test_a_batch_is_stored_wholly_or_not_at_all(
    store: MemoryStore, open_store: OpenStore, inspector: Inspector
) -> None:
    """A batch is all or nothing, also when its 2nd item cannot be stored; an empty one is nothing.

    Whether anything of the batch is sent before all of it was checked.
    """
    narrow = open_store(max_record_bytes=4096)
    known = Message("user", "known")
    first = store.append_message(SESSION, known)
    refused: list[tuple[type[Exception], Message]] = [
        (NotSerializable, Message("user", "second", metadata={"key": object()})),
        (NotSerializable, Message("user", "second \ud800")),
        (RecordTooLarge, Message("user", "x" * 4096)),
        (ValueError, Message("user", "second", id="")),
        (ValueError, Message("user", "second", id="i" * 513)),
        (Conflict, known),
        (Conflict, replace(known, content="other content")),
    ]
    for error, second in refused:
        turn = [Message("user", "first"), second, Message("user", "third")]
        for session_id in (SESSION, OTHER) if error is not Conflict else (SESSION,):
            with pytest.raises(error):
                narrow.append_messages(session_id, turn)
    twice = Message("user", "twice")
    with pytest.raises(ValueError, match="same id"):
        store.append_messages(SESSION, [twice, twice])
    for session_id in (SESSION, OTHER):
        assert store.append_messages(session_id, []) == []

    assert [raw.position for raw in inspector.messages(SESSION)] == [1]
    assert not inspector.present(OTHER), "a refused or empty batch made a session"
    assert store.get_history(SESSION) == [first]
    assert store.append_message(SESSION, Message("user", "next")).position == 2


@contract("conv-6")
@needs("message_ids")
def test_the_same_id_is_stored_once(
    store: MemoryStore, open_store: OpenStore, inspector: Inspector
) -> None:
    """Appending the same message id again returns the first result and stores nothing.

    Whether the server, not the client, knows which ids it has.
    """
    message = Message("user", "hello", metadata={"tool": 1})
    turn = [Message("user", "one"), Message("assistant", "two")]
    first = store.append_message(SESSION, message)
    first_turn = store.append_messages(SESSION, turn)
    store.append_message(SESSION, Message("user", "later"))
    before = inspector.messages(SESSION)

    # A caller that tries again builds the message anew, with a later clock.
    again = replace(message, created_at=message.created_at + timedelta(seconds=5))
    assert open_store().append_message(SESSION, again) == first
    assert open_store().append_messages(SESSION, turn) == first_turn
    assert inspector.messages(SESSION) == before
    elsewhere = store.append_message(OTHER, message)
    assert (elsewhere.position, elsewhere.message) == (1, message), "an id counts in its session"


@contract("conv-6")
@needs("message_ids")
def test_the_same_id_from_many_writers_is_stored_once(
    store: MemoryStore, open_store: OpenStore, inspector: Inspector
) -> None:
    """The same message sent by many at once is stored once, and all get the one result.

    Whether looking the id up and storing the message are one step on the server.
    """
    stores = [store, open_store()]
    rounds = 5
    for number in range(rounds):
        message = Message("user", f"{number}")
        results = together([partial(s.append_message, SESSION, message) for s in stores * 2])
        assert results == [results[0]] * len(results)
    assert [raw.position for raw in inspector.messages(SESSION)] == list(range(1, rounds + 1))


@contract("conv-6")
@needs("message_ids")
def test_the_same_id_with_other_content_is_a_conflict(
    store: MemoryStore, inspector: Inspector
) -> None:
    """The same message id with other content is a Conflict, and what was stored stays.

    Whether the stored content is compared, types included (1, 1.0 and True differ).
    """
    message = Message("user", "hello", metadata={"tool": 1})
    first = store.append_message(SESSION, message)
    raw = inspector.messages(SESSION)
    others: list[dict[str, Any]] = [
        {"content": "other"},
        {"role": "assistant"},
        *({"metadata": other} for other in ({}, {"tool": True}, {"tool": 1.0}, {"tool": 1, "": 2})),
    ]
    for other in others:
        with pytest.raises(Conflict, match=message.id):
            store.append_message(SESSION, replace(message, **other))
    assert inspector.messages(SESSION) == raw
    assert store.get_history(SESSION) == [first]


@contract("conv-7")
@needs("raw_records")
def test_positions_are_gapless_and_never_reused(store: MemoryStore, inspector: Inspector) -> None:
    """Positions are gapless from 1 and never reused after a delete within the session's life.

    Whether a position comes from a counter, rather than from counting or the highest one left.
    """
    positions = [store.append_message(SESSION, Message("user", f"{n}")).position for n in range(4)]
    assert positions == [1, 2, 3, 4]
    inspector.delete_message(SESSION, 4)
    inspector.delete_message(SESSION, 2)
    later = [store.append_message(SESSION, Message("user", f"{n}")).position for n in range(2)]
    assert later == [5, 6]
    assert [raw.position for raw in inspector.messages(SESSION)] == [1, 3, 5, 6]
    assert contents(store.get_history(SESSION, 2)) == ["0", "1"]

    assert store.delete_session(SESSION)
    assert store.append_message(SESSION, Message("user", "a new life")).position == 1


@contract("conv-7")
@needs("raw_records")
def test_a_session_outlives_its_first_billions(store: MemoryStore, inspector: Inspector) -> None:
    """More appends than a 32-bit number or 14 digits can count do not stop the session.

    The types of the position's column, and how scripts turn numbers into text.
    """
    store.append_message(SESSION, Message("user", "first"))
    for edge in (2**31 - 1, 2**32 - 1, 10**14):
        inspector.set_last_position(SESSION, edge - 1)
        said = [Message("user", f"{n}") for n in range(3)]
        for message in said:
            store.append_message(SESSION, message)
        last = store.get_history(SESSION, 3)
        assert [(stored.position, stored.message) for stored in last] == list(
            zip(range(edge, edge + 3), said, strict=True)
        )
        assert contents(store.get_history(SESSION, 1, before=edge + 2)) == ["1"]


@contract("conv-8")
@needs("limits")
def test_paging_neither_skips_nor_repeats(store: MemoryStore, open_store: OpenStore) -> None:
    """Paging with `before` neither skips nor repeats while others append.

    Whether a page is found by position, rather than by an offset from the moving end.
    """
    other = open_store()
    store.append_messages(SESSION, [Message("user", f"{n}") for n in range(1, 10)])
    for size in (1, 2, 5):
        last = store.get_history(SESSION, 1)[0].position
        walk: list[int] = []
        before = None
        while page := store.get_history(SESSION, size, before):
            walk[:0] = [message.position for message in page]
            before = page[0].position
            other.append_message(SESSION, Message("user", "meanwhile"))
        assert walk == list(range(1, last + 1)), f"in pages of {size}"
