"""Adapters and mutants whose client is a mock: what the lane `mock` opens."""

from __future__ import annotations

from typing import Any
from unittest.mock import AsyncMock, Mock

import mutants
from harness.mocked.memory import Memory
from mutants import Mutant
from stores.async_store import AsyncStore
from stores.calls import Call
from stores.interface import AsyncMemoryStore, MemoryStore
from stores.postgres import AsyncPostgresStore, PostgresStore
from stores.redis import AsyncRedisStore, RedisStore

ADAPTERS = (RedisStore, AsyncRedisStore, PostgresStore, AsyncPostgresStore)
NOWHERE = {"redis": "redis://mock:6379/0", "postgres": "postgresql://mock/mock"}
CALLS = (
    *("append", "history", "save_context", "load_context", "load_session", "delete_session"),
    *("set_ttl", "get_ttl", "acquire", "renew", "release", "sessions", "ping"),
)


class _Stores:
    """``harness.mocked.stores:STORES.name`` opens the adapter or the mutant of that name."""

    def __getattr__(self, name: str) -> Any:
        for adapter in ADAPTERS:
            if adapter.__name__ == name:
                return lambda _url, **options: mocked(adapter, options)
        known = mutants.load()
        if name not in known:
            raise AttributeError(name)
        return lambda _url, **options: _broken(known[name], options)


STORES = _Stores()


def mocked(adapter: type[MemoryStore | AsyncMemoryStore], options: dict[str, Any]) -> Any:
    """Open an adapter, and put a mock in the place of what talks to its server."""
    backend = "redis" if issubclass(adapter, RedisStore | AsyncRedisStore) else "postgres"
    make: Any = adapter
    store = make.from_url(NOWHERE[backend], **options)
    memory = Memory(options["namespace"])
    driver = Mock()
    for name in CALLS:
        getattr(driver, name).side_effect = getattr(memory, name)
    store._plans.commands = driver  # noqa: SLF001 - a mock goes where the code is
    answer = AsyncMock if isinstance(store, AsyncStore) else Mock
    store._carry = answer(side_effect=_answer)  # noqa: SLF001 - the same
    return store


def _answer(call: Call[Any], _: float) -> Any:
    if type(call) is not Call:
        raise NotImplementedError("a mock runs no commands: it answers the calls that it knows")
    return call.parse(None)


def _broken(mutant: Mutant, options: dict[str, Any]) -> Any:
    store = mocked(mutant.adapter, mutant.options(options))
    mutant.apply(store)
    return store
