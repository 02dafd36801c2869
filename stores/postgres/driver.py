"""Where releases of psycopg differ, from 3.2 on: waiting for a generator, but not for ever.

Since 3.3.6 its wait functions take a timeout. Before they take an interval, after which they go on
with the generator although nothing has come; so one around it can end it.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from inspect import signature
from time import monotonic
from typing import Any, TypeVar

import psycopg
from psycopg import waiting
from psycopg.abc import PQGen, PQGenConn

Result = TypeVar("Result")
Asked = TypeVar("Asked")

CHECK_INTERVAL = 0.1
"""Seconds between looks for Ctrl-C while waiting for the server."""
_TIMED = "timeout" in signature(waiting.wait_selector).parameters


def wait(generator: PQGen[Result], fileno: int, seconds: float) -> Result:
    """Return what a generator gives that talks on a connection; psycopg.Error if too late."""
    if _TIMED:
        return waiting.wait(generator, fileno, CHECK_INTERVAL, seconds)
    return waiting.wait(_ending(generator, seconds), fileno, _interval(seconds))


async def wait_async(generator: PQGen[Result], fileno: int, seconds: float) -> Result:
    """`wait`, awaited."""
    if _TIMED:
        return await waiting.wait_async(generator, fileno, CHECK_INTERVAL, seconds)
    return await waiting.wait_async(_ending(generator, seconds), fileno, _interval(seconds))


def wait_conn(generator: PQGenConn[Result], seconds: float) -> Result:
    """Return what a generator gives that connects; psycopg.Error if too late."""
    if _TIMED:
        return waiting.wait_conn(generator, CHECK_INTERVAL, seconds)
    return waiting.wait_conn(_ending(generator, seconds), _interval(seconds))


async def wait_conn_async(generator: PQGenConn[Result], seconds: float) -> Result:
    """`wait_conn`, awaited."""
    if _TIMED:
        return await waiting.wait_conn_async(generator, CHECK_INTERVAL, seconds)
    return await waiting.wait_conn_async(_ending(generator, seconds), _interval(seconds))


def _ending(
    generator: Generator[Asked, Any, Result], seconds: float
) -> Generator[Asked, Any, Result]:
    """Go on with a generator until the time is over; what has come by then still counts."""
    deadline = monotonic() + seconds
    try:
        asked = next(generator)
        while True:
            asked = generator.send((yield asked))
            if monotonic() >= deadline:
                raise psycopg.OperationalError("wait timeout expired")
    except StopIteration as done:
        result: Result = done.value
        return result


def _interval(seconds: float) -> float:
    """Return an interval of which a whole number is the time, so that the last ends with it."""
    return seconds / max(1, math.ceil(seconds / CHECK_INTERVAL))
