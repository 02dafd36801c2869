"""What others ship for the same job, timed by their own calls, set up as their docs do.

None of them gives positions, checks ids, fences or tells a lost reply from a refusal; an append
of theirs is not idempotent. Where one has no limit, it reads the whole history, and the newest
are cut from that, as its user would.
"""

from __future__ import annotations

from typing import Any
from uuid import NAMESPACE_URL, uuid5

import psycopg
import redis
from agents.extensions.memory import RedisSession
from langchain_community.chat_message_histories import RedisChatMessageHistory
from langchain_core.messages import HumanMessage
from langchain_postgres import PostgresChatMessageHistory

from bench.adapters.measuring import AsyncCall, Call
from bench.adapters.workloads import NEWEST, TTL_SECONDS, Workload, text

OPERATIONS = frozenset({"append", "history"})
TABLE = "chat_history"
BATCH = 1000


class OpenAISession:
    """openai-agents RedisSession, which is async alone."""

    name = "openai-agents RedisSession"
    reads_all = False

    def __init__(self, url: str) -> None:
        self._url = url
        self._sessions: list[Any] = []

    def call(self, workload: Workload, session: str) -> AsyncCall:
        """Return one call of the workload."""
        history = RedisSession.from_url(f"openai-{session}", url=self._url, ttl=TTL_SECONDS)
        self._sessions.append(history)
        words = text(workload.size)
        if workload.operation == "append":
            return lambda: history.add_items([{"role": "user", "content": words}])
        return lambda: history.get_items(limit=NEWEST)

    async def plant(self, workload: Workload, session: str) -> None:
        """Make a session as long as the workload wants it."""
        history = RedisSession.from_url(f"openai-{session}", url=self._url, ttl=TTL_SECONDS)
        self._sessions.append(history)
        item: Any = {"role": "user", "content": text(workload.size)}
        for first in range(0, workload.length, BATCH):
            await history.add_items([item] * min(BATCH, workload.length - first))

    async def close(self) -> None:
        """Close the connections."""
        while self._sessions:
            await self._sessions.pop().close()


class LangchainRedis:
    """langchain-community RedisChatMessageHistory: its async calls are these in threads."""

    name = "langchain-community RedisChatMessageHistory"
    reads_all = True

    def __init__(self, url: str) -> None:
        self._url = url

    def call(self, workload: Workload, session: str) -> Call:
        """Return one call of the workload."""
        history = self._history(session)
        words = text(workload.size)
        if workload.operation == "append":
            return lambda: history.add_message(HumanMessage(words))
        return lambda: history.messages[-NEWEST:]

    def plant(self, workload: Workload, session: str) -> None:
        """Make a session as long as the workload wants it: copies of one message of its own."""
        if not workload.length:
            return
        history = self._history(session)
        history.add_message(HumanMessage(text(workload.size)))
        with redis.Redis.from_url(self._url) as client:
            (one,) = client.lrange(history.key, 0, 0)
            for first in range(1, workload.length, BATCH):
                client.lpush(history.key, *[one] * min(BATCH, workload.length - first))

    def close(self) -> None:
        """Leave it to the garbage collector: it has no close of its own."""

    def _history(self, session: str) -> Any:
        return RedisChatMessageHistory(f"langchain-{session}", url=self._url, ttl=TTL_SECONDS)


class LangchainPostgres:
    """langchain-postgres PostgresChatMessageHistory, on a connection per client."""

    name = "langchain-postgres PostgresChatMessageHistory"
    reads_all = True

    def __init__(self, url: str) -> None:
        self._url = url
        self._connections: list[psycopg.Connection[Any]] = []
        PostgresChatMessageHistory.create_tables(self._connect(), TABLE)

    def call(self, workload: Workload, session: str) -> Call:
        """Return one call of the workload."""
        history = self._history(session)
        words = text(workload.size)
        if workload.operation == "append":
            return lambda: history.add_messages([HumanMessage(words)])
        return lambda: history.get_messages()[-NEWEST:]

    def plant(self, workload: Workload, session: str) -> None:
        """Make a session as long as the workload wants it: copies of one message of its own."""
        if not workload.length:
            return
        self._history(session).add_messages([HumanMessage(text(workload.size))])
        connection = self._connect()
        connection.execute(
            f"INSERT INTO {TABLE} (session_id, message) SELECT session_id, message FROM {TABLE}, "
            "generate_series(2, %s) WHERE session_id = %s",
            [workload.length, _uuid(session)],
        )
        connection.commit()

    def close(self) -> None:
        """Close the connections."""
        while self._connections:
            self._connections.pop().close()

    def _connect(self) -> psycopg.Connection[Any]:
        self._connections.append(psycopg.connect(self._url))
        return self._connections[-1]

    def _history(self, session: str) -> Any:
        return PostgresChatMessageHistory(TABLE, _uuid(session), sync_connection=self._connect())


class AsyncLangchainPostgres:
    """The same, awaited."""

    name = LangchainPostgres.name
    reads_all = True

    def __init__(self, url: str) -> None:
        self._url = url
        self._connections: list[psycopg.AsyncConnection[Any]] = []

    def call(self, workload: Workload, session: str) -> AsyncCall:
        """Return one call of the workload."""
        made: list[Any] = []
        words = text(workload.size)

        async def history() -> Any:
            if not made:
                connection = await psycopg.AsyncConnection.connect(self._url)
                self._connections.append(connection)
                made.append(
                    PostgresChatMessageHistory(TABLE, _uuid(session), async_connection=connection)
                )
            return made[0]

        async def append() -> None:
            await (await history()).aadd_messages([HumanMessage(words)])

        async def newest() -> Any:
            return (await (await history()).aget_messages())[-NEWEST:]

        return append if workload.operation == "append" else newest

    async def plant(self, workload: Workload, session: str) -> None:
        """Do nothing: the blocking face has planted the session."""

    async def close(self) -> None:
        """Close the connections."""
        while self._connections:
            await self._connections.pop().close()


def _uuid(session: str) -> str:
    return str(uuid5(NAMESPACE_URL, session))
