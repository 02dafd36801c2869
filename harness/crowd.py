"""Doing things at the same time: threads with a common start, and processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.synchronize import Barrier
from typing import Any, TypeVar

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


def processes(count: int) -> ProcessPoolExecutor:
    """Return a pool of processes, running: forks of this one as it is now.

    To be called while this process has neither threads nor connections, which a fork would
    break; what it has imported its forks need not import again.
    """
    context = multiprocessing.get_context("fork")
    start = context.Barrier(count)
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_begin, initargs=(start,))
    with warnings.catch_warnings():  # of threads that a store's module started: no fork has them
        warnings.simplefilter("ignore", DeprecationWarning)
        pool.submit(os.getpid)  # forks all of them, before the pool starts its own thread
    return pool


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
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ended by the process that made the pool
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
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
