"""langchain-community's RedisChatMessageHistory.

It makes a client of its own for each session, from a URL; timeouts go into the URL.

Its documentation calls it "chat message history stored in a Redis database", and promises nothing
of batches: langchain-core's `add_messages` is to avoid round trips, and by default calls
`add_message` for each message, as here. The package says at its import that it is no longer
maintained.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Any

import redis
from langchain_community.chat_message_histories import RedisChatMessageHistory

from stores import MemoryStore, Message, Session, StoredMessage
from subjects.langchain_words import ours, theirs
from subjects.words import load, part, places, reading, writing

ERRORS = (redis.RedisError,)


class LangchainRedis(MemoryStore):
    """`RedisChatMessageHistory`, an object for each session."""

    features = frozenset({"history"})

    def __init__(self, url: str, *, namespace: str, timeout: float = 5, **_: Any) -> None:
        self._url = f"{url}?socket_timeout={timeout}&socket_connect_timeout={timeout}"
        self._prefix = f"{namespace}:"
        self._histories: dict[str, RedisChatMessageHistory] = {}
        self._making = Lock()

    def append_message(
        self, session_id: str, message: Message, *, fence: int | None = None
    ) -> StoredMessage:
        with writing(ERRORS):
            self._history(session_id).add_message(theirs(message))
        return places([message], self.get_history(session_id, None))[0]

    def append_messages(
        self, session_id: str, messages: Sequence[Message], *, fence: int | None = None
    ) -> list[StoredMessage]:
        with writing(ERRORS):
            self._history(session_id).add_messages([theirs(message) for message in messages])
        return places(messages, self.get_history(session_id, None))

    def get_history(
        self, session_id: str, limit: int | None = 100, before: int | None = None
    ) -> list[StoredMessage]:
        with reading(ERRORS):
            return part(ours(self._history(session_id).messages), limit, before)

    def load_session(self, session_id: str, limit: int | None = 100) -> Session | None:
        return load(self, session_id, limit)

    def ping(self) -> None:
        with reading(ERRORS):
            self._history("ping").redis_client.ping()

    def close(self) -> None:
        for history in self._histories.values():
            history.redis_client.close()

    def _history(self, session_id: str) -> RedisChatMessageHistory:
        with self._making:
            if session_id not in self._histories:
                self._histories[session_id] = RedisChatMessageHistory(
                    session_id, url=self._url, key_prefix=self._prefix
                )
            return self._histories[session_id]
