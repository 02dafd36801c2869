"""The async face of every store: carries out plans with awaited calls."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, TypeVar

from stores.calls import Call, Pause, Plan, Send
from stores.errors import LeaseLost, StoreClosed, StoreError
from stores.interface import (
    AsyncLease,
    AsyncMemoryStore,
    Context,
    Message,
    Seconds,
    Session,
    StoredMessage,
)
from stores.plans import Plans, new_owner

Result = TypeVar("Result")
Reply = TypeVar("Reply")


async def carry_out(
    plan: Generator[Any, Any, Result], take: Callable[[Any], Awaitable[Any]]
) -> Result:
    """Take a plan's steps, each with the reply or the StoreError of the last; return its result."""
    try:
        step = next(plan)
        while True:
            try:
                reply = await take(step)
            except StoreError as error:
                step = plan.throw(error)
            else:
                step = plan.send(reply)
    except StopIteration as done:
        result: Result = done.value
        return result


class AsyncStore(AsyncMemoryStore):
    """A `AsyncMemoryStore` that only needs to be told how to carry one call to its server."""

    def __init__(self, plans: Plans) -> None:
        self._plans = plans
        self._closed = False

    @abstractmethod
    async def _carry(self, call: Call[Reply], deadline: float) -> Reply:
        """Send the call, return its parsed reply; raise only the StoreError family."""

    @abstractmethod
    async def _disconnect(self) -> None:
        """Close every connection."""

    async def _run(self, plan: Plan[Result]) -> Result:
        if self._closed:
            raise StoreClosed(f"this {type(self).__name__} was closed")
        return await carry_out(plan, self._take)

    async def _take(self, step: Any) -> Any:
        if isinstance(step, Pause):
            return await asyncio.sleep(step.seconds)
        if not isinstance(step, Send):
            return await step  # what an async ``change`` gave
        return await self._carry(step.call, step.deadline)

    async def append_message(
        self, session_id: str, message: Message, *, fence: int | None = None
    ) -> StoredMessage:
        return (await self._run(self._plans.append_messages(session_id, [message], fence)))[0]

    async def append_messages(
        self, session_id: str, messages: Sequence[Message], *, fence: int | None = None
    ) -> list[StoredMessage]:
        return await self._run(self._plans.append_messages(session_id, messages, fence))

    async def get_history(
        self, session_id: str, limit: int | None = 100, before: int | None = None
    ) -> list[StoredMessage]:
        return await self._run(self._plans.get_history(session_id, limit, before))

    async def save_context(
        self,
        session_id: str,
        context: Mapping[str, Any],
        *,
        if_version: int | None = None,
        fence: int | None = None,
    ) -> int:
        return await self._run(self._plans.save_context(session_id, context, if_version, fence))

    async def load_context(self, session_id: str) -> Context | None:
        return await self._run(self._plans.load_context(session_id))

    async def update_context(
        self,
        session_id: str,
        change: Callable[[dict[str, Any]], Mapping[str, Any] | Awaitable[Mapping[str, Any]]],
        *,
        fence: int | None = None,
    ) -> Context:
        return await self._run(self._plans.update_context(session_id, change, fence))

    async def load_session(self, session_id: str, limit: int | None = 100) -> Session | None:
        return await self._run(self._plans.load_session(session_id, limit))

    async def delete_session(self, session_id: str, *, fence: int | None = None) -> bool:
        return await self._run(self._plans.delete_session(session_id, fence))

    async def iter_sessions(self) -> AsyncIterator[str]:
        seen: set[str] = set()
        cursor = None
        while True:
            session_ids, cursor = await self._run(self._plans.page(cursor))
            for session_id in session_ids:
                if session_id not in seen:
                    seen.add(session_id)
                    yield session_id
            if cursor is None:
                return

    async def set_ttl(self, session_id: str, ttl: Seconds | None) -> None:
        await self._run(self._plans.set_ttl(session_id, ttl))

    async def get_ttl(self, session_id: str) -> timedelta | None:
        return await self._run(self._plans.get_ttl(session_id))

    @asynccontextmanager
    async def lock(
        self, session_id: str, *, lease: Seconds, wait: Seconds
    ) -> AsyncIterator[AsyncLease]:
        owner = new_owner()
        token = await self._run(self._plans.acquire(session_id, owner, lease, wait))
        held = _Lease(self._run, self._plans, session_id, owner, token, lease)
        try:
            yield held
        except BaseException as error:
            try:
                await held.release()
            except StoreError as second:
                error.add_note(f"and the lock was not released: {second!r}")
            raise
        await held.release()

    async def ping(self) -> None:
        await self._run(self._plans.ping())

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await self._disconnect()


class _Lease(AsyncLease):
    def __init__(
        self,
        run: Callable[[Plan[None]], Awaitable[None]],
        plans: Plans,
        session_id: str,
        owner: str,
        token: int,
        lease: Seconds,
    ) -> None:
        self.session_id = session_id
        self.token = token
        self._run = run
        self._plans = plans
        self._owner = owner
        self._lease = lease
        self._released = False

    async def renew(self) -> None:
        if self._released:
            raise LeaseLost(f"session {self.session_id!r}: the lease was released")
        await self._run(self._plans.renew(self.session_id, self._owner, self._lease))

    async def release(self) -> None:
        if not self._released:
            self._released = True
            await self._run(self._plans.release(self.session_id, self._owner))
