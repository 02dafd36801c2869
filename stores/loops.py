"""Things of an async store that belong to one event loop, such as its connections."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from stores.errors import StoreUnavailable

Thing = TypeVar("Thing")


@dataclass(frozen=True, slots=True)
class _Life(Generic[Thing]):
    thing: Thing
    until: AsyncGenerator[Thing, None]
    process: int


class PerLoop(Generic[Thing]):
    """One thing for each event loop in which a store is used, closed with its loop at the latest.

    A store so outlives `asyncio.run`, can be used from the loops of several threads, and after
    a fork from a new loop of the child, which leaves the parent's connections alone.
    """

    def __init__(
        self, make: Callable[[], Thing], close: Callable[[Thing], Awaitable[None]]
    ) -> None:
        self._make = make
        self._close = close
        self._lives: dict[asyncio.AbstractEventLoop, _Life[Thing]] = {}

    async def get(self) -> Thing:
        """Return the running loop's own. Raises StoreUnavailable in a loop from before a fork."""
        loop = asyncio.get_running_loop()
        life = self._lives.get(loop)
        if life is None:
            life = await self._begin(loop)
        elif life.process != os.getpid():
            raise StoreUnavailable(
                "this event loop was made before the process forked: its connections are the "
                "parent's; use a new loop"
            )
        return life.thing

    async def close(self) -> None:
        """Close all that belong to this process and to a loop that still runs."""
        lives, self._lives = self._lives, {}
        for loop, life in lives.items():
            if life.process != os.getpid() or not loop.is_running():
                continue
            if loop is asyncio.get_running_loop():
                await life.until.aclose()
            else:
                ending = asyncio.run_coroutine_threadsafe(life.until.aclose(), loop)
                await asyncio.wrap_future(ending)

    async def _begin(self, loop: asyncio.AbstractEventLoop) -> _Life[Thing]:
        for other in [other for other in self._lives if other.is_closed()]:
            del self._lives[other]
        thing = self._make()
        until = self._live(thing)
        life = self._lives[loop] = _Life(thing, until, os.getpid())
        await anext(until)
        return life

    async def _live(self, thing: Thing) -> AsyncGenerator[Thing, None]:
        """Close the thing when the store does, or when its loop ends.

        `asyncio.run` ends the loop's asynchronous generators (`loop.shutdown_asyncgens`).
        """
        try:
            yield thing
        finally:
            await self._close(thing)
