"""The stores of this project, as contestants."""

from __future__ import annotations

from typing import Any

from bench.adapters.measuring import AsyncCall, Call
from bench.adapters.workloads import CLIENTS, NEWEST, TTL_SECONDS, Workload, text
from stores import AsyncMemoryStore, MemoryStore, Message

OURS = "ours"
NAMESPACE = "bench"
BATCH = 1000
OPTIONS: dict[str, Any] = {
    "namespace": NAMESPACE,
    "ttl": TTL_SECONDS,
    "timeout": 30.0,
    "max_connections": max(CLIENTS),
}


def plant(store: MemoryStore, session: str, workload: Workload) -> None:
    """Make a session as long as the workload wants it, with a context."""
    store.delete_session(session)
    for first in range(0, workload.length, BATCH):
        count = min(BATCH, workload.length - first)
        store.append_messages(session, [Message("user", text(workload.size)) for _ in range(count)])
    store.save_context(session, {"text": text(workload.size)})


def _calls(store: Any, session: str, words: str) -> dict[str, Any]:
    """Return what is written alike for both faces: an async store's are awaited."""
    return {
        "append": lambda: store.append_message(session, Message("user", words)),
        "history": lambda: store.get_history(session, NEWEST),
        "save": lambda: store.save_context(session, {"text": words}),
        "load": lambda: store.load_context(session),
        "update": lambda: store.update_context(session, lambda context: context),
    }


class Ours:
    """A blocking store."""

    name = OURS
    reads_all = False

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def call(self, workload: Workload, session: str) -> Call:
        """Return one call of the workload."""
        store, words = self._store, text(workload.size)

        def lock() -> None:
            with store.lock(session, lease=30, wait=0):
                pass

        calls: dict[str, Call] = {**_calls(store, session, words), "lock": lock}
        return calls[workload.operation]


class AsyncOurs:
    """An async store."""

    name = OURS
    reads_all = False

    def __init__(self, store: AsyncMemoryStore) -> None:
        self._store = store

    def call(self, workload: Workload, session: str) -> AsyncCall:
        """Return one call of the workload."""
        store, words = self._store, text(workload.size)

        async def lock() -> None:
            async with store.lock(session, lease=30, wait=0):
                pass

        calls: dict[str, AsyncCall] = {**_calls(store, session, words), "lock": lock}
        return calls[workload.operation]
