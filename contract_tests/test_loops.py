"""con: event loops, forks and cancelled tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

from contract_tests.fix_faults import Proxied
from contract_tests.forks import HANG_SECONDS, use_and_fork, use_on_loop
from harness.contracts import contract, needs
from harness.crowd import together
from harness.faults import FaultProxy
from harness.inspectors import Inspector
from harness.opening import Opening
from stores.interface import AsyncMemoryStore, Message

pytestmark = needs("history")

STORE_SECONDS = 2.0
"""Timeout of stores that are used in odd ways: one that hangs is told from one that is slow."""
STEPS = [*range(7), 9, 12]
"""After how many rounds of the event loop a task is cancelled: all it does before its reply."""
DELAY_SECONDS = 0.02
"""How late replies are: none comes before its call is cancelled, and some come right after."""


def open_async(opening: Opening, **options: Any) -> AsyncMemoryStore:
    """Open a store that is not behind a sync face."""
    options = {**opening.options, "timeout": STORE_SECONDS, **options}
    store = replace(opening, options=options).native()
    assert isinstance(store, AsyncMemoryStore), "it blocks: say in its row that it lacks tasks"
    return store


@contract("con-6")
@needs("tasks", "own_connections")
def test_store_used_from_two_event_loops(opening: Opening) -> None:
    """A store used from one event loop after another, and from two at once, works or refuses.

    If not: does it keep connections, locks or tasks of a loop that has ended, or hand those of
    one loop to another?
    """

    store = open_async(opening)
    use = partial(use_on_loop, store)
    wrong = use("first", may_refuse=False) + use("second", may_refuse=True)
    for problems in together([partial(use, name, may_refuse=True) for name in ("third", "fourth")]):
        wrong += problems
    asyncio.run(store.close())
    assert not wrong


@contract("con-6")
@needs("processes", "own_connections")
def test_store_used_after_a_fork(opening: Opening, worker_processes: ProcessPoolExecutor) -> None:
    """A store that parent and child use after a fork works or refuses, and mixes up no replies.

    If not: do both talk through one socket, or does the child wait for a thread or a lock that
    only the parent has?
    """
    options = {**opening.options, "timeout": STORE_SECONDS}
    forked = worker_processes.submit(use_and_fork, replace(opening, options=options))
    assert not forked.result(2 * HANG_SECONDS)


@contract("con-7")
@needs("tasks", "network")
def test_cancelled_call_leaves_no_reply_behind(
    opening: Opening, inspector: Inspector, proxied: Proxied
) -> None:
    """A task cancelled anywhere in a call leaves the next call its own reply, and no half write.

    If not: is the connection closed, or its reply awaited, before the next call gets it?
    """
    store = open_async(replace(opening, url=proxied.url), max_connections=1)
    cancelled = asyncio.run(_cancel_everywhere(store, proxied.proxy))
    assert cancelled >= len(STEPS), "too few calls were still under way when they were cancelled"

    stored = [raw.message_id for raw in inspector.messages("cancelled")]
    for step in STEPS:
        turn = [message.id for message in _turn(step)]
        there = [message_id for message_id in stored if message_id in turn]
        assert there in ([], turn), f"of the turn cancelled after {step} rounds there is {there}"
    assert len(inspector.messages("next")) == 2 * len(STEPS)


async def _cancel_everywhere(store: AsyncMemoryStore, proxy: FaultProxy) -> int:
    """Cancel calls after each number of rounds, and check the next ones; count the cancelled."""
    cancelled = 0
    async with store:
        for step in STEPS:
            calls = {
                "append": partial(store.append_messages, "cancelled", _turn(step)),
                "read": partial(store.get_history, "next"),
            }
            for name, call in calls.items():
                with proxy.delay(DELAY_SECONDS):
                    cancelled += await _cancelled_after(step, call())
                echo = Message("user", f"after {name} {step}", id=f"{name}-{step}")
                stored = await store.append_message("next", echo)
                assert stored.message == echo
                assert await store.get_history("next", 1) == [stored]
    return cancelled


async def _cancelled_after(rounds: int, call: Coroutine[Any, Any, object]) -> bool:
    """Cancel a call after so many rounds of the loop; tell whether it had not ended by then."""
    task = asyncio.ensure_future(call)
    for _ in range(rounds):
        await asyncio.sleep(0)
    task.cancel()
    (outcome,) = await asyncio.gather(task, return_exceptions=True)
    if isinstance(outcome, Exception):
        raise outcome
    return isinstance(outcome, asyncio.CancelledError)


def _turn(step: int) -> list[Message]:
    return [Message("user", f"turn {step}.{part}", id=f"{step}-{part}") for part in (1, 2)]
