"""The control: a careful store in the memory of one process, which needs no server.

It keeps what a process can keep alone. What takes a second process it must fail, or the contracts
would measure nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, datetime
from threading import Lock
from typing import Any

from stores import Conflict, MemoryStore, Message, Session, StoredMessage
from stores.checks import check_message_id, checked_before, checked_limit
from stores.codec import decode_message, encode_message
from subjects.words import load, part

LONGEST = 1024 * 1024
_LOCK = Lock()
_MEMORY: defaultdict[tuple[str, str], list[StoredMessage]] = defaultdict(list)


class InMemory(MemoryStore):
    """Lists in a dictionary of the process, by namespace and session."""

    features = frozenset({"history"})

    def __init__(
        self, _url: str, *, namespace: str, max_record_bytes: int = LONGEST, **_: Any
    ) -> None:
        self._namespace = namespace
        self._longest = max_record_bytes

    def append_message(
        self, session_id: str, message: Message, *, fence: int | None = None
    ) -> StoredMessage:
        return self.append_messages(session_id, [message])[0]

    def append_messages(
        self, session_id: str, messages: Sequence[Message], *, fence: int | None = None
    ) -> list[StoredMessage]:
        for message in messages:
            check_message_id(message.id)
        now = datetime.now(UTC)
        copies = [
            decode_message(encode_message(message, self._longest), session_id, 1, now).message
            for message in messages
        ]
        if len({message.id for message in copies}) < len(copies):
            raise ValueError("two messages of one turn have the same id")
        with _LOCK:
            kept = _MEMORY[self._namespace, session_id]
            known = {one.id: one for one in kept}
            for message in copies:
                if message.id in known and _said(known[message.id]) != _said(message):
                    raise Conflict(f"the id {message.id} is taken by other content")
            new = [message for message in copies if message.id not in known]
            if new and len(new) < len(copies):
                raise Conflict("of this turn only a part is known")
            kept += [_stored(one, place) for place, one in enumerate(new, start=len(kept) + 1)]
            known = {one.id: one for one in kept}
            return [known[message.id] for message in messages]

    def get_history(
        self, session_id: str, limit: int | None = 100, before: int | None = None
    ) -> list[StoredMessage]:
        checked_limit(limit)
        checked_before(before)
        with _LOCK:
            return part(list(_MEMORY[self._namespace, session_id]), limit, before)

    def load_session(self, session_id: str, limit: int | None = 100) -> Session | None:
        return load(self, session_id, limit)

    def ping(self) -> None:
        """Answer: there is no server that could fail to."""

    def close(self) -> None:
        """Keep all: another store of the process may look at it."""


def _stored(message: Message, place: int) -> StoredMessage:
    own = {field.name: getattr(message, field.name) for field in fields(message)}
    return StoredMessage(**own, position=place, stored_at=datetime.now(UTC))


def _said(message: Message) -> str:
    return repr((message.role, message.content, message.metadata))
