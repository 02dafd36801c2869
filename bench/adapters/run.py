"""Running the workloads: every contestant in turn, round by round, so that all share the noise."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from bench.adapters.bare_postgres import AsyncBarePostgres, BarePostgres
from bench.adapters.bare_redis import AsyncBareRedis, BareRedis
from bench.adapters.measuring import Sample, median, sample, sample_async
from bench.adapters.others import (
    OPERATIONS,
    AsyncLangchainPostgres,
    LangchainPostgres,
    LangchainRedis,
    OpenAISession,
)
from bench.adapters.ours import OPTIONS, OURS, AsyncOurs, Ours, plant
from bench.adapters.workloads import CLIENTS, LONG, WORKLOADS, Workload
from stores import MemoryStore
from stores.postgres import AsyncPostgresStore, PostgresStore
from stores.redis import AsyncRedisStore, RedisStore

SAMPLE_SECONDS = 0.12
WARM = 3
"""Calls before the first sample: connecting, preparing, caching."""
Tell = Callable[[str], None]
STORES: dict[str, tuple[Any, Any]] = {
    "redis": (RedisStore, AsyncRedisStore),
    "postgres": (PostgresStore, AsyncPostgresStore),
}
SYNC: dict[str, tuple[Any, Any]] = {
    "redis": (BareRedis, LangchainRedis),
    "postgres": (BarePostgres, LangchainPostgres),
}
ASYNC: dict[str, tuple[Any, Any]] = {
    "redis": (AsyncBareRedis, OpenAISession),
    "postgres": (AsyncBarePostgres, AsyncLangchainPostgres),
}


def compare(backend: str, url: str, rounds: int, tell: Tell) -> list[dict[str, Any]]:
    """Return one row for each workload, face and number of clients."""
    began = time.monotonic()
    store = STORES[backend][0].from_url(url, **OPTIONS)
    with store:
        _plant(store)
        tell(f"{backend}: planted in {time.monotonic() - began:.0f} s")
        rows = _sync(backend, url, store, rounds, tell)
    return rows + asyncio.run(_async(backend, url, rounds, tell))


def _plant(store: MemoryStore) -> None:
    """Make the sessions that the stores and the bare drivers use alike."""
    sessions = {
        session: workload
        for workload in WORKLOADS
        for who in ("ours", "bare")
        for session in _sessions(workload, who, _planted(workload))
    }
    for session, workload in sessions.items():
        plant(store, session, workload)


def _sync(
    backend: str, url: str, store: MemoryStore, rounds: int, tell: Tell
) -> list[dict[str, Any]]:
    bare, other = SYNC[backend]
    contestants = [Ours(store), bare(url), bare(url, reads_json=True), other(url)]
    rows, planted = [], set[str]()
    for workload in WORKLOADS:
        running = _running(contestants, workload)
        for one in running:
            for session in _unplanted(one, workload, planted):
                one.plant(workload, session)
        for clients in _clients(workload):
            calls = {
                one.name: _calls(one, workload, clients)
                for one in running
                if _fits(one, workload, clients)
            }
            for call in [call for every in calls.values() for call in every] * WARM:
                call()
            samples: dict[str, list[Sample]] = {name: [] for name in calls}
            for name in _turns(list(calls), rounds):
                samples[name].append(sample(calls[name], SAMPLE_SECONDS))
            rows.append(_row(backend, "sync", workload, clients, samples, tell))
            for one in contestants[1:]:
                one.close()
    return rows


async def _async(backend: str, url: str, rounds: int, tell: Tell) -> list[dict[str, Any]]:
    bare, other = ASYNC[backend]
    store = STORES[backend][1].from_url(url, **OPTIONS)
    contestants = [AsyncOurs(store), bare(url), bare(url, reads_json=True), other(url)]
    rows, planted = [], set[str]()
    for workload in WORKLOADS:
        running = _running(contestants, workload)
        for one in running:
            for session in _unplanted(one, workload, planted):
                await one.plant(workload, session)
        for clients in _clients(workload):
            calls = {
                one.name: _calls(one, workload, clients)
                for one in running
                if _fits(one, workload, clients)
            }
            for call in [call for every in calls.values() for call in every] * WARM:
                await call()
            samples: dict[str, list[Sample]] = {name: [] for name in calls}
            for name in _turns(list(calls), rounds):
                samples[name].append(await sample_async(calls[name], SAMPLE_SECONDS))
            rows.append(_row(backend, "async", workload, clients, samples, tell))
            for one in contestants[1:]:
                await one.close()
    await store.close()
    return rows


def _turns(names: list[str], rounds: int) -> Iterator[str]:
    """Yield the names, each round from another on: nobody always follows the same one."""
    for turn in range(rounds):
        first = turn % len(names)
        yield from names[first:] + names[:first]


def _running(contestants: Sequence[Any], workload: Workload) -> list[Any]:
    return [
        one
        for one in contestants
        if one is not None
        and (not getattr(one, "_reads_json", False) or workload.operation == "history")
        and (not hasattr(one, "plant") or workload.operation in OPERATIONS)
    ]


def _fits(one: Any, workload: Workload, clients: int) -> bool:
    """Leave out who reads 100 000 messages for 20 with many clients at once: it takes minutes."""
    return clients == 1 or not (
        one.reads_all and workload.length == LONG and workload.operation == "history"
    )


def _clients(workload: Workload) -> tuple[int, ...]:
    """Return how many clients to run: sessions of 100 000 messages to write to are one each."""
    return (1,) if workload.length == LONG and workload.operation == "append" else CLIENTS


def _planted(workload: Workload) -> int:
    return 1 if workload.shared else max(_clients(workload))


def _unplanted(one: Any, workload: Workload, planted: set[str]) -> list[str]:
    """Return the sessions that a contestant has to make for itself; note that it does."""
    if not hasattr(one, "plant"):
        return []
    sessions = _sessions(workload, one.name, _planted(workload))
    new = [session for session in sessions if session not in planted]
    planted.update(new)
    return new


def _sessions(workload: Workload, who: str, count: int) -> list[str]:
    """Return a session for each client; readers share one, which ours and the driver share too."""
    if workload.shared:
        return [workload.session] * count
    return [f"{workload.session}-{who.partition(' ')[0]}-{number}" for number in range(count)]


def _calls(one: Any, workload: Workload, clients: int) -> list[Any]:
    return [one.call(workload, session) for session in _sessions(workload, one.name, clients)]


def _row(
    backend: str,
    face: str,
    workload: Workload,
    clients: int,
    samples: dict[str, list[Sample]],
    tell: Tell,
) -> dict[str, Any]:
    medians = {name: asdict(median(every)) for name, every in samples.items()}
    shown = ", ".join(f"{name} {figures['rate']:.0f}/s" for name, figures in medians.items())
    tell(f"{backend} {face} {workload.name}, {clients} clients: {shown}")
    return {
        "backend": backend,
        "face": face,
        "workload": asdict(workload) | {"name": workload.name},
        "clients": clients,
        "of": medians,
        "ratio": _ratio(samples),
    }


def _ratio(samples: dict[str, list[Sample]]) -> dict[str, float]:
    """Return our rate by each other's: the median of the rounds' own ratios."""
    ratios = {}
    for name, every in samples.items():
        if name != OURS:
            pairs = zip(samples[OURS], every, strict=True)
            by_round = sorted(mine.rate / theirs.rate for mine, theirs in pairs)
            ratios[name] = by_round[len(by_round) // 2]
    return ratios
