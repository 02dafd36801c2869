"""What the adapters share: the words of the interface for what a subject gives and raises."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC
from typing import Any, Protocol

from stores import (
    Message,
    NotSerializable,
    OutcomeUnknown,
    Session,
    StoredMessage,
    StoreUnavailable,
)
from stores.codec import decode_context, encode_context

LONGEST_TIME = 1000
Errors = tuple[type[Exception], ...]
EXTRA = "memory_matrix"
"""The key under which a message's time and metadata travel, where a subject keeps what it gets."""


@contextmanager
def reading(errors: Errors) -> Iterator[None]:
    """Give a driver's errors the interface's name: a read that failed changed nothing."""
    try:
        yield
    except errors as error:
        raise StoreUnavailable(f"{type(error).__name__}: {error}") from error


@contextmanager
def writing(errors: Errors) -> Iterator[None]:
    """Give a driver's errors the interface's name: no driver tells whether a write was applied."""
    try:
        yield
    except errors as error:
        raise OutcomeUnknown(f"{type(error).__name__}: {error}") from error
    except TypeError as error:
        raise NotSerializable(str(error)) from error


def extra_of(message: Message) -> dict[str, Any]:
    """Return what a subject has no place of its own for. Only the time is made JSON here."""
    time = encode_context({"at": message.created_at}, LONGEST_TIME)
    return {"created_at": time.decode(), "metadata": message.metadata}


def stored(role: str, content: str, name: str, extra: dict[str, Any], place: int) -> StoredMessage:
    """Return a message at its place in the history, from 1. No subject says when it was stored."""
    created_at = decode_context(extra["created_at"].encode(), name)["at"]
    return StoredMessage(
        role,
        content,
        name,
        extra["metadata"],
        created_at,
        position=place,
        stored_at=created_at.astimezone(UTC),
    )


def part(
    history: list[StoredMessage], limit: int | None, before: int | None
) -> list[StoredMessage]:
    """Return the newest ``limit`` messages (before a position) of a whole history."""
    end = len(history) if before is None else min(before - 1, len(history))
    return history[0 if limit is None else max(0, end - limit) : end]


def places(messages: Sequence[Message], history: list[StoredMessage]) -> list[StoredMessage]:
    """Return where messages stand in a history: what an append that returns nothing has stored."""
    by_id: dict[str, StoredMessage] = {}
    for one in history:
        by_id.setdefault(one.id, one)
    return [by_id[message.id] for message in messages if message.id in by_id]


class HistoryCalls(Protocol):
    """What `load` needs of an adapter."""

    def get_history(
        self, session_id: str, limit: int | None = 100, before: int | None = None
    ) -> list[StoredMessage]: ...


def load(store: HistoryCalls, session_id: str, limit: int | None) -> Session | None:
    """Return the session of a subject that has histories alone."""
    history = store.get_history(session_id, limit)
    return Session(session_id, history, None) if history else None
