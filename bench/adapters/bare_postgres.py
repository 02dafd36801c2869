"""The limit on Postgres: the same bytes in the same rows, with psycopg and nothing else.

One statement a call, each its own transaction and one round trip, on an open connection per
client, prepared on the server as psycopg does by itself. No checks, no decoding, no retries.
"""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import psycopg

from bench.adapters.bare_redis import BARE, LEASE_MS, LONGEST, READING, TTL_MS, record_of
from bench.adapters.measuring import AsyncCall, Call
from bench.adapters.ours import NAMESPACE
from bench.adapters.workloads import NEWEST, Workload, text
from stores.codec import encode_context

EXPIRES = "expires_at = clock_timestamp() + %s * interval '1 millisecond'"
OF_SESSION = "namespace = %s AND session_id = %s"
SQL = {
    "append": f"""
        WITH held AS (
          UPDATE agent_memory.sessions SET last_position = last_position + 1, {EXPIRES}
          WHERE {OF_SESSION} RETURNING session_key, last_position
        )
        INSERT INTO agent_memory.messages (session_key, position, message_id, stored_at, record)
        SELECT session_key, last_position, %s, clock_timestamp(), %s FROM held
        RETURNING position, stored_at""",
    "history": f"""
        SELECT position, stored_at, record
        FROM agent_memory.messages JOIN agent_memory.sessions USING (session_key)
        WHERE {OF_SESSION} AND position > last_position - %s ORDER BY position""",
    "save": f"""
        UPDATE agent_memory.sessions SET context = %s, write_id = %s, version = version + 1,
          {EXPIRES} WHERE {OF_SESSION} RETURNING version""",
    "save_if": f"""
        UPDATE agent_memory.sessions SET context = %s, write_id = %s, version = version + 1,
          {EXPIRES} WHERE {OF_SESSION} AND version = %s RETURNING version""",
    "load": f"SELECT version, context FROM agent_memory.sessions WHERE {OF_SESSION}",
    "acquire": """
        INSERT INTO agent_memory.locks AS held (namespace, session_id, owner, token, lease_until)
        VALUES (%s, %s, %s, 1, clock_timestamp() + %s * interval '1 millisecond')
        ON CONFLICT (namespace, session_id) DO UPDATE
          SET owner = EXCLUDED.owner, token = held.token + 1, lease_until = EXCLUDED.lease_until
          WHERE held.lease_until < clock_timestamp()
        RETURNING token""",
    "release": f"""
        UPDATE agent_memory.locks SET owner = NULL, lease_until = clock_timestamp()
        WHERE {OF_SESSION} AND owner = %s RETURNING token""",
}


class BarePostgres:
    """psycopg, blocking."""

    reads_all = False

    def __init__(self, url: str, *, reads_json: bool = False) -> None:
        self.name = READING if reads_json else BARE
        self._reads_json = reads_json
        self._url = url
        self._connections: list[psycopg.Connection[Any]] = []

    def call(self, workload: Workload, session: str) -> Call:
        """Return one call of the workload, on a connection of its own."""
        connection = psycopg.connect(self._url, autocommit=True)
        self._connections.append(connection)
        place = (NAMESPACE.encode(), session.encode())
        _, record = record_of(workload.size)
        context = encode_context({"text": text(workload.size)}, LONGEST)

        def rows(name: str, *values: object) -> Any:
            return connection.execute(SQL[name], values, binary=True).fetchall()

        def update() -> None:
            ((version, _),) = rows("load", *place)
            rows("save_if", context, uuid4().bytes, TTL_MS, *place, version)

        def locked() -> None:
            owner = uuid4().bytes
            rows("acquire", *place, owner, LEASE_MS)
            rows("release", *place, owner)

        calls: dict[str, Call] = {
            "append": lambda: rows("append", TTL_MS, *place, uuid4().hex.encode(), record),
            "history": lambda: rows("history", *place, NEWEST),
            "save": lambda: rows("save", context, uuid4().bytes, TTL_MS, *place),
            "load": lambda: rows("load", *place),
            "update": update,
            "lock": locked,
        }
        call = calls[workload.operation]
        if self._reads_json:
            return lambda: [json.loads(row[-1].partition(b" ")[2]) for row in call()]  # type: ignore[attr-defined] # a list
        return call

    def close(self) -> None:
        """Close the connections."""
        while self._connections:
            self._connections.pop().close()


class AsyncBarePostgres:
    """psycopg, awaited."""

    reads_all = False

    def __init__(self, url: str, *, reads_json: bool = False) -> None:
        self.name = READING if reads_json else BARE
        self._reads_json = reads_json
        self._url = url
        self._connections: list[psycopg.AsyncConnection[Any]] = []

    def call(self, workload: Workload, session: str) -> AsyncCall:
        """Return one call of the workload, on a connection of its own."""
        made: list[psycopg.AsyncConnection[Any]] = []
        place = (NAMESPACE.encode(), session.encode())
        _, record = record_of(workload.size)
        context = encode_context({"text": text(workload.size)}, LONGEST)

        async def rows(name: str, *values: object) -> Any:
            if not made:
                made.append(await psycopg.AsyncConnection.connect(self._url, autocommit=True))
                self._connections += made
            cursor = await made[0].execute(SQL[name], values, binary=True)
            return await cursor.fetchall()

        async def update() -> None:
            ((version, _),) = await rows("load", *place)
            await rows("save_if", context, uuid4().bytes, TTL_MS, *place, version)

        async def locked() -> None:
            owner = uuid4().bytes
            await rows("acquire", *place, owner, LEASE_MS)
            await rows("release", *place, owner)

        calls: dict[str, AsyncCall] = {
            "append": lambda: rows("append", TTL_MS, *place, uuid4().hex.encode(), record),
            "history": lambda: rows("history", *place, NEWEST),
            "save": lambda: rows("save", context, uuid4().bytes, TTL_MS, *place),
            "load": lambda: rows("load", *place),
            "update": update,
            "lock": locked,
        }
        call = calls[workload.operation]

        async def reading() -> object:
            rows: Any = await call()
            return [json.loads(row[-1].partition(b" ")[2]) for row in rows]

        return reading if self._reads_json else call

    async def close(self) -> None:
        """Close the connections."""
        while self._connections:
            await self._connections.pop().close()
