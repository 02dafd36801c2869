"""The limit on Redis: the same bytes in the same fields, with redis-py and nothing else.

One script a call where more than one command is needed, each call one round trip, on a
connection per client. No checks, no decoding, no deadlines, no errors told apart.
"""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import redis
import redis.asyncio

from bench.adapters.measuring import AsyncCall, Call
from bench.adapters.ours import NAMESPACE
from bench.adapters.workloads import NEWEST, TTL_SECONDS, Workload, text
from stores import Message
from stores.codec import encode_context, encode_message
from stores.redis.commands import RedisCommands

TTL_MS = TTL_SECONDS * 1000
LEASE_MS = 30_000
SCRIPTS = {
    "append": """
        local n = redis.call('HINCRBY', KEYS[1], 'n', 1)
        local t = redis.call('TIME')
        local stored_at = t[1] .. string.format('%06d', t[2])
        redis.call('HSET', KEYS[1], 'i:' .. ARGV[1], n, 'm:' .. n, stored_at .. ':' .. ARGV[2])
        redis.call('PEXPIRE', KEYS[1], ARGV[3])
        return {n, stored_at}""",
    "history": """
        local last = tonumber(redis.call('HGET', KEYS[1], 'n'))
        local names = {}
        for position = last - ARGV[1] + 1, last do names[#names + 1] = 'm:' .. position end
        return redis.call('HMGET', KEYS[1], unpack(names))""",
    "save": """
        local version = redis.call('HINCRBY', KEYS[1], 'v', 1)
        redis.call('HSET', KEYS[1], 'c', ARGV[1], 'w', ARGV[2])
        redis.call('PEXPIRE', KEYS[1], ARGV[3])
        return version""",
    "save_if": """
        local version = redis.call('HGET', KEYS[1], 'v')
        if version ~= ARGV[4] then return false end
        version = redis.call('HINCRBY', KEYS[1], 'v', 1)
        redis.call('HSET', KEYS[1], 'c', ARGV[1], 'w', ARGV[2])
        redis.call('PEXPIRE', KEYS[1], ARGV[3])
        return version""",
    "acquire": """
        if redis.call('HGET', KEYS[1], 'o') then return false end
        local token = redis.call('HINCRBY', KEYS[1], 'k', 1)
        redis.call('HSET', KEYS[1], 'o', ARGV[1])
        redis.call('PEXPIRE', KEYS[1], ARGV[2])
        return token""",
    "release": """
        if redis.call('HGET', KEYS[1], 'o') ~= ARGV[1] then return 0 end
        return redis.call('HDEL', KEYS[1], 'o')""",
}
BARE, READING = "bare driver", "bare driver, JSON read"
"""The second also does what nobody can be spared who wants the messages, and no more."""
KEYS = RedisCommands(NAMESPACE)
LONGEST = 1 << 20


def record_of(size: int) -> tuple[str, bytes]:
    """Return a new message's id and record, as the store would send them."""
    message = Message("user", text(size))
    return message.id, encode_message(message, LONGEST)


class BareRedis:
    """redis-py, blocking."""

    reads_all = False

    def __init__(self, url: str, *, reads_json: bool = False) -> None:
        self.name = READING if reads_json else BARE
        self._reads_json = reads_json
        self._url = url
        self._clients: list[redis.Redis] = []
        with redis.Redis.from_url(url) as client:
            self._shas = {name: str(client.script_load(lua)) for name, lua in SCRIPTS.items()}

    def call(self, workload: Workload, session: str) -> Call:
        """Return one call of the workload, on a connection of its own."""
        client: Any = redis.Redis.from_url(self._url)
        self._clients.append(client)
        run, sha = client.evalsha, self._shas
        key, lock = KEYS.session_key(session), b"bare" + KEYS.lock_key(session)
        _, record = record_of(workload.size)
        context = encode_context({"text": text(workload.size)}, LONGEST)

        def update() -> None:
            version = client.hmget(key, "c", "v")[1]
            run(sha["save_if"], 1, key, context, uuid4().hex, TTL_MS, version)

        def locked() -> None:
            owner = uuid4().hex
            run(sha["acquire"], 1, lock, owner, LEASE_MS)
            run(sha["release"], 1, lock, owner)

        calls: dict[str, Call] = {
            "append": lambda: run(sha["append"], 1, key, uuid4().hex, record, TTL_MS),
            "history": lambda: run(sha["history"], 1, key, NEWEST),
            "save": lambda: run(sha["save"], 1, key, context, uuid4().hex, TTL_MS),
            "load": lambda: client.hmget(key, "c", "v"),
            "update": update,
            "lock": locked,
        }
        call = calls[workload.operation]
        if self._reads_json:
            return lambda: [json.loads(value.partition(b" ")[2]) for value in call()]  # type: ignore[attr-defined] # a list
        return call

    def close(self) -> None:
        """Close the connections."""
        while self._clients:
            self._clients.pop().close()


class AsyncBareRedis:
    """redis-py, awaited."""

    reads_all = False

    def __init__(self, url: str, *, reads_json: bool = False) -> None:
        self.name = READING if reads_json else BARE
        self._reads_json = reads_json
        self._url = url
        self._clients: list[redis.asyncio.Redis] = []
        with redis.Redis.from_url(url) as client:
            self._shas = {name: str(client.script_load(lua)) for name, lua in SCRIPTS.items()}

    def call(self, workload: Workload, session: str) -> AsyncCall:
        """Return one call of the workload, on a connection of its own."""
        client: Any = redis.asyncio.Redis.from_url(self._url)
        self._clients.append(client)
        run, sha = client.evalsha, self._shas
        key, lock = KEYS.session_key(session), b"bare" + KEYS.lock_key(session)
        _, record = record_of(workload.size)
        context = encode_context({"text": text(workload.size)}, LONGEST)

        async def update() -> None:
            version = (await client.hmget(key, "c", "v"))[1]
            await run(sha["save_if"], 1, key, context, uuid4().hex, TTL_MS, version)

        async def locked() -> None:
            owner = uuid4().hex
            await run(sha["acquire"], 1, lock, owner, LEASE_MS)
            await run(sha["release"], 1, lock, owner)

        calls: dict[str, AsyncCall] = {
            "append": lambda: run(sha["append"], 1, key, uuid4().hex, record, TTL_MS),
            "history": lambda: run(sha["history"], 1, key, NEWEST),
            "save": lambda: run(sha["save"], 1, key, context, uuid4().hex, TTL_MS),
            "load": lambda: client.hmget(key, "c", "v"),
            "update": update,
            "lock": locked,
        }
        call = calls[workload.operation]

        async def reading() -> object:
            values: Any = await call()
            return [json.loads(value.partition(b" ")[2]) for value in values]

        return reading if self._reads_json else call

    async def close(self) -> None:
        """Close the connections."""
        while self._clients:
            await self._clients.pop().aclose()
