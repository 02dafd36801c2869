"""One sample: clients that repeat a call for a moment, and how long each call took."""

from __future__ import annotations

import asyncio
import statistics
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

Call = Callable[[], object]
AsyncCall = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Sample:
    """What a moment of calls gave. Latencies are seconds."""

    rate: float
    p50: float
    p99: float


def sample(calls: Sequence[Call], seconds: float) -> Sample:
    """Repeat each call in a thread of its own. Raises what a call raised."""
    took: list[list[float]] = [[] for _ in calls]
    faults: list[BaseException] = []
    begin = threading.Barrier(len(calls) + 1)

    def client(call: Call, mine: list[float]) -> None:
        begin.wait()
        now = perf_counter()
        end = now + seconds
        try:
            while now < end:
                call()
                before, now = now, perf_counter()
                mine.append(now - before)
        except BaseException as error:  # noqa: BLE001 - raised below, in the caller's thread
            faults.append(error)

    threads = [
        threading.Thread(target=client, args=pair, daemon=True)
        for pair in zip(calls, took, strict=True)
    ]
    for thread in threads:
        thread.start()
    begin.wait()
    began = perf_counter()
    for thread in threads:
        thread.join()
    return _sample(took, perf_counter() - began, faults)


async def sample_async(calls: Sequence[AsyncCall], seconds: float) -> Sample:
    """`sample` for coroutines, each in a task of its own."""
    took: list[list[float]] = [[] for _ in calls]

    async def client(call: AsyncCall, mine: list[float]) -> None:
        now = perf_counter()
        end = now + seconds
        while now < end:
            await call()
            before, now = now, perf_counter()
            mine.append(now - before)

    began = perf_counter()
    await asyncio.gather(*(client(call, mine) for call, mine in zip(calls, took, strict=True)))
    return _sample(took, perf_counter() - began, [])


def _sample(took: list[list[float]], seconds: float, faults: list[BaseException]) -> Sample:
    if faults:
        raise faults[0]
    every = sorted(second for mine in took for second in mine)
    return Sample(
        len(every) / seconds, *(every[int(share * (len(every) - 1))] for share in (0.5, 0.99))
    )


def median(samples: Sequence[Sample]) -> Sample:
    """Return the median of each figure."""
    return Sample(
        *(
            statistics.median(getattr(one, name) for one in samples)
            for name in ("rate", "p50", "p99")
        )
    )
