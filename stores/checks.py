"""Checks of arguments that every store shares, so that bad input is refused alike."""

from __future__ import annotations

import math
from datetime import timedelta

from stores.calls import FOR_EVER
from stores.interface import Seconds

MAX_ID_BYTES = 512
MAX_NAMESPACE_BYTES = 128
MAX_TTL_MS = 1000 * 365 * 24 * 3600 * 1000
"""1000 years: within the range of every server's clock."""
MAX_POSITION = 2**53 - 1
"""Redis scripts count in doubles, exact up to here: 285 years of a million appends a second."""


def check_text(name: str, text: str, max_bytes: int) -> None:
    """Raise ValueError unless it is non-empty text that fits."""
    if type(text) is not str or not text:
        raise ValueError(f"{name} must be non-empty text, not {text!r}")
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise ValueError(f"{name} has a lone surrogate: {text!r}") from error
    if size > max_bytes:
        raise ValueError(f"{name} has {size} bytes in UTF-8, more than {max_bytes}")


def check_session_id(session_id: str) -> None:
    """Raise ValueError for anything but non-empty text of up to 512 bytes."""
    check_text("session_id", session_id, MAX_ID_BYTES)


def check_message_id(message_id: str) -> None:
    """Raise ValueError for anything but non-empty text of up to 512 bytes."""
    check_text("message.id", message_id, MAX_ID_BYTES)


def checked_limit(limit: int | None) -> int | None:
    """Return the limit within what servers count; raise ValueError unless it is >= 0 or None."""
    if limit is None:
        return None
    if type(limit) is not int or limit < 0:
        raise ValueError(f"limit must be None or an integer >= 0, not {limit!r}")
    return min(limit, MAX_POSITION)


def checked_before(before: int | None) -> int | None:
    """Return the position within what servers count; raise ValueError unless >= 1 or None."""
    if before is None:
        return None
    if type(before) is not int or before < 1:
        raise ValueError(f"before must be None or a position >= 1, not {before!r}")
    return min(before, MAX_POSITION)


def check_version(name: str, version: int | None) -> None:
    """Raise ValueError unless it is None or an integer >= 0 that a server can hold."""
    if version is not None and (type(version) is not int or not 0 <= version <= MAX_POSITION):
        raise ValueError(f"{name} must be None or an integer >= 0, not {version!r}")


def ttl_milliseconds(ttl: Seconds | None) -> int:
    """Return the TTL in whole milliseconds, `FOR_EVER` for None.

    Raises ValueError for 0, negative, NaN, less than a millisecond or over 1000 years.
    """
    return FOR_EVER if ttl is None else milliseconds("ttl", ttl)


def milliseconds(name: str, duration: Seconds, *, least: int = 1) -> int:
    """Return a duration in whole milliseconds; raise ValueError outside its range."""
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration
    if type(seconds) is not int and (type(seconds) is not float or not math.isfinite(seconds)):
        raise ValueError(f"{name} must be a number of seconds or a timedelta, not {duration!r}")
    if seconds * 1000 > MAX_TTL_MS:
        raise ValueError(f"{name} must be at most 1000 years, not {duration!r}")
    rounded = round(seconds * 1000)
    if rounded < least:
        raise ValueError(f"{name} must be at least {least} ms, not {duration!r}")
    return rounded
