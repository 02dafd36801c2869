"""How much room a stored message takes on the server, with all that belongs to it."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import redis

from bench.adapters.others import TABLE, LangchainPostgres, LangchainRedis, OpenAISession
from bench.adapters.ours import OPTIONS, OURS, plant
from bench.adapters.workloads import SMALL, Workload
from stores.postgres import PostgresStore
from stores.redis import RedisStore

COUNT = 5000
WORKLOAD = Workload("history", SMALL, COUNT)
SESSION = "memory"


def per_message(backend: str, url: str) -> list[dict[str, Any]]:
    """Return the bytes that one of many messages takes, ours and the others'. Fresh servers."""
    found = _in_redis(url) if backend == "redis" else _in_postgres(url)
    return [
        {"who": f"{who}, {backend}", "size": SMALL, "bytes": took / COUNT}
        for who, took in found.items()
    ]


def _in_redis(url: str) -> dict[str, float]:
    with RedisStore.from_url(url, **OPTIONS) as store:
        plant(store, SESSION, WORKLOAD)
    LangchainRedis(url).plant(WORKLOAD, SESSION)
    asyncio.run(_plant_openai(url))
    took = dict.fromkeys((OURS, LangchainRedis.name, OpenAISession.name), 0.0)
    with redis.Redis.from_url(url) as client:
        for key in client.keys("*"):
            who = LangchainRedis.name if b"langchain" in key else OpenAISession.name
            who = OURS if key.startswith(b"{") else who
            took[who] += float(client.memory_usage(key, samples=0))
        client.flushdb()
    return took


async def _plant_openai(url: str) -> None:
    session = OpenAISession(url)
    await session.plant(WORKLOAD, SESSION)
    await session.close()


def _in_postgres(url: str) -> dict[str, float]:
    other = LangchainPostgres(url)
    with PostgresStore.from_url(url, **OPTIONS) as store:
        plant(store, SESSION, WORKLOAD)
    other.plant(WORKLOAD, SESSION)
    other.close()
    with psycopg.connect(url) as connection:
        sizes = {
            OURS: "pg_total_relation_size('agent_memory.messages')",
            LangchainPostgres.name: f"pg_total_relation_size('{TABLE}')",
        }
        return {
            who: float((connection.execute(f"SELECT {size}").fetchone() or (0,))[0])
            for who, size in sizes.items()
        }
