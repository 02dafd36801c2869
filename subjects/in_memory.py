"""The control: a careful store in the memory of one process, which needs no server.

It keeps what a process can keep alone. What takes a server or a second process it must fail, or
the contracts would measure nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from threading import Lock
from typing import Any

from stores import Conflict, MemoryStore, Message, Session, StoredMessage
from subjects.words import load, part

_LOCK = Lock()
_MEMORY: defaultdict[tuple[str, str], list[StoredMessage]] = defaultdict(list)


class InMemory(MemoryStore):
    """Lists in a dictionary of the process, by namespace and session."""

    features = frozenset({"history"})

    def __init__(self, _url: str, *, namespace: str, **_: Any) -> None:
        self._namespace = namespace

    def append_message(
        self, session_id: str, message: Message, *, fence: int | None = None
    ) -> StoredMessage:
        return self.append_messages(session_id, [message])[0]

    def append_messages(
        self, session_id: str, messages: Sequence[Message], *, fence: int | None = None
    ) -> list[StoredMessage]:
        with _LOCK:
            kept = _MEMORY[self._namespace, session_id]
            known = {one.id: one for one in kept}
            for message in messages:
                if message.id in known and not _same(known[message.id], message):
                    raise Conflict(f"the id {message.id} is taken by other content")
            for message in messages:
                if message.id not in known:
                    known[message.id] = _stored(message, len(kept) + 1)
                    kept.append(known[message.id])
            return [known[message.id] for message in messages]

    def get_history(
        self, session_id: str, limit: int | None = 100, before: int | None = None
    ) -> list[StoredMessage]:
        for name, value, least in (("limit", limit, 0), ("before", before, 1)):
            if value is not None and (type(value) is not int or value < least):
                raise ValueError(f"{name} must be an integer from {least} on, not {value!r}")
        with _LOCK:
            return part(list(_MEMORY[self._namespace, session_id]), limit, before)

    def load_session(self, session_id: str, limit: int | None = 100) -> Session | None:
        return load(self, session_id, limit)

    def ping(self) -> None:
        """Answer: there is no server that could fail to."""

    def close(self) -> None:
        """Keep all: another store of the process may look at it."""


def _stored(message: Message, place: int) -> StoredMessage:
    own = replace(message, metadata=dict(message.metadata))
    fields = {name: getattr(own, name) for name in Message.__slots__}
    return StoredMessage(**fields, position=place, stored_at=datetime.now(UTC))


def _same(kept: StoredMessage, message: Message) -> bool:
    return (kept.role, kept.content, repr(kept.metadata)) == (
        message.role,
        message.content,
        repr(message.metadata),
    )
