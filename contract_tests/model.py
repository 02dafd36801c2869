"""What a memory store does, in the plainest terms: lists and dicts, one step at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stores.errors import Conflict, NoSuchSession
from stores.interface import Message


@dataclass
class ModelSession:
    """One session. ``version`` is what the store said when it saved the context."""

    messages: list[Message] = field(default_factory=list)
    context: dict[str, Any] | None = None
    version: int = 0
    ttl: float | None = None


class Model:
    """All sessions. Every method gives, or raises, what the store's own must."""

    def __init__(self) -> None:
        self.sessions: dict[str, ModelSession] = {}

    def append(self, session_id: str, turn: Sequence[Message]) -> list[tuple[int, Message]]:
        """Return the positions and the messages that are stored there."""
        if len({message.id for message in turn}) < len(turn):
            raise ValueError("an id twice in one turn")
        if not turn:
            return []
        messages = self.sessions.get(session_id, ModelSession()).messages
        places = {message.id: place for place, message in enumerate(messages)}
        known = [places[message.id] for message in turn if message.id in places]
        if known and len(known) < len(turn):
            raise Conflict("only some of the turn are stored")
        if not known:
            known = list(range(len(messages), len(messages) + len(turn)))
            messages = [*messages, *turn]
            self.sessions.setdefault(session_id, ModelSession()).messages = messages
        if known != list(range(known[0], known[0] + len(turn))):
            raise Conflict("the turn's ids are stored apart")
        stored = [messages[place] for place in known]
        if [message.content for message in stored] != [message.content for message in turn]:
            raise Conflict("an id is taken by other content")
        return [(place + 1, message) for place, message in zip(known, stored, strict=True)]

    def history(
        self, session_id: str, limit: int | None, before: int | None
    ) -> list[tuple[int, Message]]:
        """Return positions and messages, oldest first."""
        messages = self.sessions.get(session_id, ModelSession()).messages
        found = [entry for entry in enumerate(messages, 1) if before is None or entry[0] < before]
        return found if limit is None else found[max(0, len(found) - limit) :]

    def check_version(self, session_id: str, if_version: int | None) -> None:
        """Raise Conflict where a save with ``if_version`` must."""
        if if_version is not None and if_version != self.version(session_id):
            raise Conflict("another version is stored")

    def save(self, session_id: str, context: Mapping[str, Any], version: int) -> None:
        """Keep a context, and the version that the store gave it."""
        session = self.sessions.setdefault(session_id, ModelSession())
        session.context, session.version = dict(context), version

    def context(self, session_id: str) -> tuple[dict[str, Any], int] | None:
        """Return context and version."""
        session = self.sessions.get(session_id)
        if session is None or session.context is None:
            return None
        return session.context, session.version

    def version(self, session_id: str) -> int:
        """Return the context's version, 0 where there is none."""
        return self.sessions.get(session_id, ModelSession()).version

    def set_ttl(self, session_id: str, ttl: float | None) -> None:
        """Keep a session's own TTL."""
        self._existing(session_id).ttl = ttl

    def ttl(self, session_id: str) -> float | None:
        """Return the session's own TTL."""
        return self._existing(session_id).ttl

    def delete(self, session_id: str) -> bool:
        """Forget a session; tell whether it was there."""
        return self.sessions.pop(session_id, None) is not None

    def _existing(self, session_id: str) -> ModelSession:
        if session_id not in self.sessions:
            raise NoSuchSession(session_id)
        return self.sessions[session_id]
