"""Doing things at the same time: threads with a common start, and processes."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
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
    """Return a pool of processes that never ran anything of this one, with drivers imported.

    They come from a fork server, which costs one start of Python for all of them.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["contract_tests.workers"])
    return ProcessPoolExecutor(count, mp_context=context)
