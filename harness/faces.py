"""An async store seen as a sync one: one event loop in a thread, real coroutines on it.

Contracts are written once, as plain functions. N threads that call an async store
through its face are N coroutines running at once on the loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Protocol, TypeVar

from stores.interface import (
    AsyncLease,
    AsyncMemoryStore,
    Context,
    Lease,
    MemoryStore,
    Message,
    Seconds,
    Session,
    StoredMessage,
)

Result = TypeVar("Result")


class Loop(Protocol):
    """What runs coroutines for a caller that blocks: a `LoopThread`, or an `asyncio.Runner`."""

    def run(self, coroutine: Coroutine[Any, Any, Result], /) -> Result:
        """Run a coroutine and return its result."""


class LoopThread:
    """An event loop that runs in a thread of its own until `stop`."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="loop")
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine on the loop and return its result; cancel it if interrupted."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> None:
        """Cancel what still runs, and end the thread."""
        self.run(self._cancel_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    async def _cancel_all(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.get_running_loop().shutdown_default_executor()


def features_of(store: MemoryStore) -> frozenset[str]:
    """Return what a store offers, that behind a sync face included."""
    return store.inner.features if isinstance(store, SyncFace) else store.features


class SyncFace(MemoryStore):
    """A `MemoryStore` that runs an `AsyncMemoryStore` on a loop."""

    def __init__(self, store: AsyncMemoryStore, loop: Loop) -> None:
        self.inner = store
        self._run = loop.run

    def append_message(
        self, session_id: str, message: Message, *, fence: int | None = None
    ) -> StoredMessage:
        return self._run(self.inner.append_message(session_id, message, fence=fence))

    def append_messages(
        self, session_id: str, messages: Sequence[Message], *, fence: int | None = None
    ) -> list[StoredMessage]:
        return self._run(self.inner.append_messages(session_id, messages, fence=fence))

    def get_history(
        self, session_id: str, limit: int | None = 100, before: int | None = None
    ) -> list[StoredMessage]:
        return self._run(self.inner.get_history(session_id, limit, before))

    def save_context(
        self,
        session_id: str,
        context: Mapping[str, Any],
        *,
        if_version: int | None = None,
        fence: int | None = None,
    ) -> int:
        return self._run(
            self.inner.save_context(session_id, context, if_version=if_version, fence=fence)
        )

    def load_context(self, session_id: str) -> Context | None:
        return self._run(self.inner.load_context(session_id))

    def update_context(
        self,
        session_id: str,
        change: Callable[[dict[str, Any]], Mapping[str, Any]],
        *,
        fence: int | None = None,
    ) -> Context:
        async def off_the_loop(value: dict[str, Any]) -> Mapping[str, Any]:
            return await asyncio.to_thread(change, value)

        return self._run(self.inner.update_context(session_id, off_the_loop, fence=fence))

    def load_session(self, session_id: str, limit: int | None = 100) -> Session | None:
        return self._run(self.inner.load_session(session_id, limit))

    def delete_session(self, session_id: str, *, fence: int | None = None) -> bool:
        return self._run(self.inner.delete_session(session_id, fence=fence))

    def iter_sessions(self) -> Iterator[str]:
        ids = self.inner.iter_sessions()

        async def following() -> str | None:
            return await anext(ids, None)

        while (session_id := self._run(following())) is not None:
            yield session_id

    def set_ttl(self, session_id: str, ttl: Seconds | None) -> None:
        self._run(self.inner.set_ttl(session_id, ttl))

    def get_ttl(self, session_id: str) -> timedelta | None:
        return self._run(self.inner.get_ttl(session_id))

    @contextmanager
    def lock(self, session_id: str, *, lease: Seconds, wait: Seconds) -> Iterator[Lease]:
        held = self.inner.lock(session_id, lease=lease, wait=wait)

        async def enter() -> AsyncLease:
            return await held.__aenter__()

        async def leave(error: BaseException | None) -> bool | None:
            return await held.__aexit__(type(error) if error else None, error, None)

        face = _LeaseFace(self._run(enter()), self._run)
        try:
            yield face
        except BaseException as error:
            if not self._run(leave(error)):
                raise
        else:
            self._run(leave(None))

    def ping(self) -> None:
        self._run(self.inner.ping())

    def close(self) -> None:
        self._run(self.inner.close())


class _LeaseFace(Lease):
    def __init__(self, lease: AsyncLease, run: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        self.session_id = lease.session_id
        self.token = lease.token
        self._lease = lease
        self._run = run

    def renew(self) -> None:
        self._run(self._lease.renew())

    def release(self) -> None:
        self._run(self._lease.release())
