"""Doing things at the same time: threads with a common start, and processes."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.synchronize import Barrier
from typing import Any, TypeVar

from harness.servers.directories import mark_semaphores

Result = TypeVar("Result")

DEADLINE_SECONDS = 20.0


def together(jobs: Sequence[Callable[[], Result]]) -> list[Result]:
    """Run every job in a thread, all started at once; return their results in order.

    Raises an ExceptionGroup of what the jobs raised, and TimeoutError if one does not end.
    """
    results: list[Any] = [None] * len(jobs)
    errors: list[Exception] = []
    start = threading.Barrier(len(jobs))

    def run(index: int) -> None:
        try:
            start.wait(DEADLINE_SECONDS)
            results[index] = jobs[index]()
        except Exception as error:  # noqa: BLE001 - raised below, with all others
            errors.append(error)

    threads = [
        threading.Thread(target=run, args=(index,), daemon=True) for index in range(len(jobs))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_SECONDS)
    if any(thread.is_alive() for thread in threads):
        raise TimeoutError(f"a job did not end within {DEADLINE_SECONDS:g} s")
    if errors:
        raise ExceptionGroup("some jobs failed", errors)
    return results


def processes(count: int, *, preload: Sequence[str] = ()) -> ProcessPoolExecutor:
    """Return a pool of processes that never ran anything of this one, with modules imported.

    They come from a fork server, which costs one start of Python for all of them.
    """
    mark_semaphores()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["contract_tests.workers", *preload])
    start = context.Barrier(count)
    return ProcessPoolExecutor(count, mp_context=context, initializer=_begin, initargs=(start,))


def at_once(
    pool: ProcessPoolExecutor, function: Callable[..., Result], arguments: Sequence[tuple[Any, ...]]
) -> list[Result]:
    """Call a module-level function in every process of a pool, with a common start.

    ``arguments`` are those of each process's call, as many as there are processes. Raises
    what a call raised, and TimeoutError if one does not end.
    """
    futures = [pool.submit(_started_together, function, own) for own in arguments]
    return [future.result(DEADLINE_SECONDS) for future in futures]


def meet() -> None:
    """Wait, in a function that `at_once` called, for all the others to get here too."""
    assert _start is not None
    _start.wait(DEADLINE_SECONDS)


_start: Barrier | None = None


def _begin(start: Barrier) -> None:
    global _start  # noqa: PLW0603 - a pool's process gets its barrier once
    _start = start
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    """End this process when the one that made the pool is gone, SIGKILL included."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _started_together(function: Callable[..., Result], arguments: tuple[Any, ...]) -> Result:
    meet()
    return function(*arguments)
