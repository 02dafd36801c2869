"""Using one store in ways that split its connections: several event loops, and forks."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from multiprocessing.connection import Connection
from typing import NoReturn

from harness.faces import LoopThread, SyncFace
from harness.opening import Opening
from stores.errors import StoreError
from stores.interface import AsyncMemoryStore, MemoryStore, Message

HANG_SECONDS = 8.0
CALLS = 20
"""Of each: enough for parent and child to meet on a socket, if they share one."""


def calls_of(store: MemoryStore, name: str, *, may_refuse: bool) -> list[str]:
    """Make calls whose replies can be told apart; return what was neither right nor refused."""
    wrong, refusals = [], []
    for number in range(CALLS):
        said = Message("user", f"{name} said {number}", id=f"{name}-{number}")
        try:
            stored = store.append_message(name, said)
            found = store.get_history(name, 1)
        except StoreError as error:
            refusals.append(error)
        except Exception as error:  # noqa: BLE001 - whatever escapes is the finding
            wrong.append(f"call {number} of the {name} raised {error!r}")
        else:
            if stored.message != said or found != [stored]:
                wrong.append(f"the {name} stored {said}, was answered {stored} and read {found}")
    if refusals and not (may_refuse and len(refusals) == CALLS):
        wrong.append(f"{len(refusals)} of {CALLS} calls of the {name} raised {refusals[0]!r}")
    return wrong


def use_on_loop(store: AsyncMemoryStore, name: str, *, may_refuse: bool) -> list[str]:
    """Make the calls on an event loop that is made for them and ends after them."""
    with asyncio.Runner() as runner:
        return calls_of(SyncFace(store, runner), name, may_refuse=may_refuse)


def use_and_fork(opening: Opening) -> list[str]:
    """Use a store, fork, and use it in parent and child at once; return what went wrong."""
    store, loop = opening.native(), LoopThread()
    here = SyncFace(store, loop) if isinstance(store, AsyncMemoryStore) else store
    wrong = calls_of(here, "ancestor", may_refuse=False)
    ours, theirs = multiprocessing.Pipe()
    child = os.fork()
    if child == 0:
        _report_and_end(store, theirs)
    theirs.close()
    try:
        ours.recv()
        ours.send("go")
        wrong += calls_of(here, "parent", may_refuse=False)
        answered = ours.poll(HANG_SECONDS)
        wrong += ours.recv() if answered else [f"the child hung for {HANG_SECONDS:g} s"]
    except EOFError:
        wrong.append("the child died")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        here.close()
        loop.stop()
    return wrong


def _report_and_end(store: MemoryStore | AsyncMemoryStore, parent: Connection) -> NoReturn:
    """Use the store in a forked child, and end without closing what the parent opened."""
    try:
        parent.send("ready")
        parent.recv()
        if isinstance(store, AsyncMemoryStore):
            parent.send(use_on_loop(store, "child", may_refuse=True))
        else:
            parent.send(calls_of(store, "child", may_refuse=True))
    finally:
        os._exit(0)
