"""val: records that are garbage, old, new or too long, and what stays reachable around them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

import pytest

from contract_tests.fix_stores import OpenStore
from contract_tests.frozen_records import CONTEXTS, FROM_THE_FUTURE, MESSAGES, message_at
from harness.contracts import contract, needs
from harness.inspectors import Inspector
from harness.sameness import difference, message_difference
from stores.errors import CorruptRecord, RecordTooLarge, StoreError, UnsupportedRecordVersion
from stores.interface import MemoryStore, Message

pytestmark = needs("history", "context")

SESSION = "a session"
OTHER = "another session"
Error = TypeVar("Error", CorruptRecord, UnsupportedRecordVersion)

GARBAGE = {
    "empty": b"",
    "an error page": b"<html>503</html>",
    "not UTF-8": b"\x93\x01\xff\xfe",
    "null": b"null",
    "a list": b"[1,2]",
    "text": b'"hello"',
    "only a version": b"v1 ",
    "an endless version": b"v" + b"9" * 5000 + b" {}",
    "NaN": b'v1 {"role":"user","content":"hello","n":NaN}',
    "an endless number": b'v1 {"n":' + b"9" * 5000 + b"}",
    "nested too deep": b'v1 {"n":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    "truncated": b'v1 {"role":"user","content":"hel',
    "two records": b"v1 {}v1 {}",
    "an unknown type": b'v1 {"n":{"$colour":"red"}}',
    "no such date": b'v1 {"n":{"$date":"2024-02-30"}}',
    "no such time zone": b'v1 {"n":{"$zoned":["2024-02-29T12:30:00","Mars/Olympus",0]}}',
    "a folder of time zones": b'v1 {"n":{"$zoned":["2024-02-29T12:30:00","Europe",0]}}',
    "no base64": b'v1 {"n":{"$bytes":"="}}',
    "a UUID that is a number": b'v1 {"n":{"$uuid":7}}',
    "a date that is an object": b'v1 {"n":{"$date":{"$date":"2024-02-29"}}}',
}
"""What is no record of any kind."""
OTHER_SHAPES = {
    "a context": b'v1 {"name":"Ada"}',
    "an old context": b'{"name":"Ada"}',
    "an old message without a time": b'{"role":"user","content":"hello"}',
    "an old message of no time": b'{"role":"user","content":"hello","timestamp":"yesterday"}',
    "an old message beyond time": b'{"role":"user","content":"hello","timestamp":1e300}',
    "a message without metadata": b'v1 {"role":"user","content":"hello","id":"x"}',
    "a message of a number": (
        b'v1 {"role":"user","content":7,"id":"x","metadata":{},'
        b'"created_at":{"$datetime":"2024-02-29T12:30:00+00:00"}}'
    ),
    "a message of no moment": (
        b'v1 {"role":"user","content":"hello","id":"x","metadata":{},"created_at":"2024-02-29"}'
    ),
}
"""What is a record, but none of a message."""


def refusal(kind: type[Error], call: Callable[[], object]) -> Error:
    """Return the error that the call must raise."""
    with pytest.raises(kind) as raised:
        call()
    return raised.value


@contract("val-5")
@needs("raw_records")
def test_a_corrupt_message_is_named_and_the_others_stay_readable(
    store: MemoryStore, inspector: Inspector
) -> None:
    """Garbage in a message's place is CorruptRecord naming it; the others stay reachable.

    Whether the reader lets an error of its decoder out, skips the record or gives up on all.
    """
    other = store.append_message(OTHER, Message("user", "hello"))
    bad = dict(enumerate([*GARBAGE.values(), *OTHER_SHAPES.values()], 1))
    # Every second message is bad: bad[n] stands at position 2n.
    said = store.append_messages(
        SESSION, [Message("user", f"{n}") for n in range(1, 2 * len(bad) + 2)]
    )
    for number, record in bad.items():
        inspector.plant_message(SESSION, 2 * number, record)
    for number, record in bad.items():
        position = 2 * number
        error = refusal(
            CorruptRecord, partial(store.get_history, SESSION, limit=2, before=position + 1)
        )
        assert (error.session_id, error.position, error.raw) == (SESSION, position, record)
        assert repr(SESSION) in str(error), "the message must name the session"
        assert store.get_history(SESSION, 1, before=position) == [said[position - 2]]
    for read in (store.get_history, store.load_session):
        error = refusal(CorruptRecord, partial(read, SESSION, limit=3))
        assert (error.session_id, error.position) == (SESSION, 2 * len(bad))

    later = store.append_message(SESSION, Message("user", "later"))
    assert store.get_history(SESSION, 2) == [said[-1], later]
    assert store.get_history(OTHER) == [other]
    assert {*store.iter_sessions()} == {SESSION, OTHER}
    raw = inspector.messages(SESSION)
    assert [kept.record for kept in raw[1:-1:2]] == [*bad.values()], "garbage is evidence"


@contract("val-5")
@needs("raw_records")
def test_a_corrupt_context_is_named_and_the_history_stays_readable(
    store: MemoryStore, inspector: Inspector
) -> None:
    """Garbage in the context's place is CorruptRecord, never "no context"; the rest is reachable.

    Whether an agent starts from an empty context, and then saves over the evidence.
    """
    store.save_context(OTHER, {"kept": 1})
    store.save_context(SESSION, {"name": "Ada"})
    message = store.append_message(SESSION, Message("user", "hello"))
    for record in GARBAGE.values():
        inspector.plant_context(SESSION, record)
        reads: list[Callable[[], object]] = [
            partial(store.load_context, SESSION),
            partial(store.load_session, SESSION),
            partial(store.update_context, SESSION, lambda _: {}),
        ]
        for read in reads:
            error = refusal(CorruptRecord, read)
            assert (error.session_id, error.position, error.raw) == (SESSION, None, record)
        assert inspector.context(SESSION) == record
    assert store.get_history(SESSION) == [message]
    store.save_context(SESSION, {"new": 1})
    changed = store.update_context(SESSION, lambda context: context | {"more": 2})
    assert changed.value == {"new": 1, "more": 2}
    other = store.load_context(OTHER)
    assert other
    assert other.value == {"kept": 1}


@contract("val-5")
@needs("raw_records", "foreign_values")
def test_a_foreign_value_is_no_session(store: MemoryStore, inspector: Inspector) -> None:
    """A value of quite another type in a session's place is CorruptRecord, for every call.

    Whether the server's complaint about the type is told apart from "no memory".
    """
    store.append_message(OTHER, Message("user", "hello"))
    inspector.plant_foreign_value(SESSION)
    calls: list[Callable[[], object]] = [
        lambda: store.get_history(SESSION),
        lambda: store.load_context(SESSION),
        lambda: store.load_session(SESSION),
        lambda: store.append_message(SESSION, Message("user", "hello")),
        lambda: store.save_context(SESSION, {}),
        lambda: store.update_context(SESSION, lambda context: context),
    ]
    for call in calls:
        error = refusal(CorruptRecord, call)
        assert (error.session_id, error.position) == (SESSION, None)
    assert len(store.get_history(OTHER)) == 1
    assert OTHER in store.iter_sessions()
    assert inspector.present(SESSION), "nobody asked to delete it"
    assert store.delete_session(SESSION)
    assert store.append_message(SESSION, Message("user", "hello")).position == 1


@contract("val-6")
@needs("raw_records")
def test_every_earlier_format_is_read(store: MemoryStore, inspector: Inspector) -> None:
    """Frozen records of every earlier format are read exactly, and go on being written to.

    Which record the new reader cannot read: sessions that hold such bytes exist.
    """
    for position, (record, _) in enumerate(MESSAGES, 1):
        inspector.plant_message(SESSION, position, record)
    wanted = [message_at(position, fields) for position, (_, fields) in enumerate(MESSAGES, 1)]
    new = store.append_message(SESSION, Message("user", "a new one"))
    assert new.position == len(MESSAGES) + 1
    history = store.get_history(SESSION)
    assert history[-1] == new
    assert len(history) == len(wanted) + 1
    for got, message in zip(history, wanted, strict=False):
        assert message_difference(got, message) is None
    assert len({message.id for message in history}) == len(history), "ids must tell them apart"

    for number, (record, value) in enumerate(CONTEXTS):
        session_id = f"context {number}"
        inspector.plant_context(session_id, record)
        loaded = store.load_context(session_id)
        assert loaded
        assert difference(loaded.value, value) is None
        updated = store.update_context(session_id, lambda context: context | {"new": 1})
        assert difference(updated.value, value | {"new": 1}) is None
        assert store.load_context(session_id) == updated


@contract("val-6")
@needs("raw_records")
def test_a_newer_format_is_refused(store: MemoryStore, inspector: Inspector) -> None:
    """A record of a newer version is UnsupportedRecordVersion, never dropped or guessed.

    Whether an old reader says that it is old, and leaves what it cannot read as it is.
    """
    for number, (record, version) in enumerate(FROM_THE_FUTURE):
        name = f"session {number}"
        first = store.append_message(name, Message("user", "first"))
        inspector.plant_message(name, 2, record)
        inspector.plant_context(name, record)
        third = store.append_message(name, Message("user", "third"))
        reads: dict[int | None, list[Callable[[], object]]] = {
            2: [partial(store.get_history, name)],
            None: [
                partial(store.load_context, name),
                partial(store.update_context, name, lambda _: {}),
            ],
        }
        for position, calls in reads.items():
            for call in calls:
                error = refusal(UnsupportedRecordVersion, call)
                assert (error.session_id, error.position, error.raw) == (name, position, record)
                assert error.version == version
        refusal(UnsupportedRecordVersion, partial(store.load_session, name))
        assert store.get_history(name, before=2) == [first]
        assert store.get_history(name, 1) == [third]
        assert inspector.context(name) == record
        assert inspector.messages(name)[1].record == record


@contract("val-7")
@needs("raw_records")
def test_a_long_record_is_refused_before_sending(
    store: MemoryStore, open_store: OpenStore, inspector: Inspector
) -> None:
    """A record over `max_record_bytes` is RecordTooLarge and changes nothing; one of it fits.

    Whether the limit counts the encoded bytes, and is checked before anything is sent.
    """
    at = datetime(2024, 2, 29, 12, 30, tzinfo=UTC)
    message = Message("user", "é" * 500, metadata={"key": 1}, created_at=at)
    context: dict[str, Any] = {"text": "é" * 500}
    store.append_message(SESSION, message)
    store.save_context(SESSION, context)
    said, kept = inspector.messages(SESSION), inspector.context(SESSION)
    assert kept
    length = len(said[0].record)

    assert open_store(max_record_bytes=length).append_message(OTHER, message).position == 1
    narrow = open_store(max_record_bytes=length - 1)
    with pytest.raises(RecordTooLarge, match=str(length)):
        narrow.append_message(SESSION, Message("user", message.content, "i" * 32, {"key": 1}, at))
    open_store(max_record_bytes=len(kept)).save_context(OTHER, context)
    narrow = open_store(max_record_bytes=len(kept) - 1)
    with pytest.raises(RecordTooLarge, match=str(len(kept))):
        narrow.save_context(SESSION, context)
    with pytest.raises(RecordTooLarge):
        narrow.update_context(SESSION, lambda _: context | {"more": 1})
    assert inspector.messages(SESSION) == said
    assert inspector.context(SESSION) == kept


@contract("val-7")
@needs("record_limit")
def test_a_servers_own_limit_is_a_clear_error(open_store: OpenStore, inspector: Inspector) -> None:
    """A record over the server's own limit is a StoreError, and its neighbours are intact.

    Whether the next call gets its own reply after the server refused or hung up.
    """
    store = open_store(max_record_bytes=8 * 1024 * 1024)
    first = store.append_message(SESSION, Message("user", "first"))
    store.save_context(SESSION, {"kept": 1})
    kept = inspector.context(SESSION)
    long = "x" * (2 * 1024 * 1024)
    with inspector.record_limit(1024 * 1024):
        calls: list[Callable[[], object]] = [
            lambda: store.append_message(SESSION, Message("user", long)),
            lambda: store.append_messages(
                SESSION, [Message("user", "second"), Message("user", long)]
            ),
            lambda: store.save_context(SESSION, {"long": long}),
        ]
        for call in calls:
            with pytest.raises(StoreError):
                call()
            assert store.get_history(SESSION) == [first]
        assert store.append_message(SESSION, Message("user", "next")).position == 2
    assert inspector.context(SESSION) == kept
    assert [raw.position for raw in inspector.messages(SESSION)] == [1, 2]
