"""openai-agents' RedisSession.

It makes a client of its own for each session, from a URL; timeouts go to the driver.

Its documentation says that an application may give it a client of its own instead, and its source
that items are appended atomically. Neither speaks of several event loops.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis
from agents.extensions.memory import RedisSession

from stores import AsyncMemoryStore, Message, Session, StoredMessage, StoreUnavailable
from subjects.words import EXTRA, extra_of, part, places, reading, stored, writing

ERRORS = (redis.RedisError, OSError, RuntimeError)
"""A session that is closed, or of a loop that has ended, raises RuntimeError."""


class OpenAIAgentsRedis(AsyncMemoryStore):
    """`RedisSession`, an object for each session."""

    features = frozenset({"history"})

    def __init__(self, url: str, *, namespace: str, timeout: float = 5, **_: Any) -> None:
        self._url = url
        self._prefix = namespace
        self._timeouts = {"socket_timeout": timeout, "socket_connect_timeout": timeout}
        self._sessions: dict[str, RedisSession] = {}

    async def append_message(
        self, session_id: str, message: Message, *, fence: int | None = None
    ) -> StoredMessage:
        return (await self.append_messages(session_id, [message]))[0]

    async def append_messages(
        self, session_id: str, messages: Sequence[Message], *, fence: int | None = None
    ) -> list[StoredMessage]:
        with writing(ERRORS):
            await self._session(session_id).add_items([_theirs(one) for one in messages])
        return places(messages, await self.get_history(session_id, None))

    async def get_history(
        self, session_id: str, limit: int | None = 100, before: int | None = None
    ) -> list[StoredMessage]:
        with reading(ERRORS):
            items = await self._session(session_id).get_items()
        history = [_ours(item, place) for place, item in enumerate(items, start=1)]
        return part(history, limit, before)

    async def load_session(self, session_id: str, limit: int | None = 100) -> Session | None:
        history = await self.get_history(session_id, limit)
        return Session(session_id, history, None) if history else None

    async def ping(self) -> None:
        if not await self._session("ping").ping():
            raise StoreUnavailable("RedisSession.ping() is False")

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()

    def _session(self, session_id: str) -> RedisSession:
        if session_id not in self._sessions:
            self._sessions[session_id] = RedisSession.from_url(
                session_id, url=self._url, key_prefix=self._prefix, redis_kwargs=self._timeouts
            )
        return self._sessions[session_id]


def _theirs(message: Message) -> Any:
    """Return a message as an input item: a dictionary, in which other keys are kept."""
    extra = {EXTRA: extra_of(message)}
    return {"role": message.role, "content": message.content, "id": message.id, **extra}


def _ours(item: Any, place: int) -> StoredMessage:
    return stored(item["role"], item["content"], item["id"], item[EXTRA], place)
