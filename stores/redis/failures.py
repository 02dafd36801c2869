"""What a failed Redis call means for the data."""

from __future__ import annotations

import re
from typing import Any, Final

from redis import exceptions

from stores.errors import (
    CorruptRecord,
    OutcomeUnknown,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from stores.redis.commands import RedisCall

FULL: Final = re.compile(r"maxmemory|No space left on device")
"""Of memory, or of disk for the append-only file."""
REFUSALS: Final = re.compile(
    r"\b(READONLY|NOREPLICAS|MISCONF|LOADING|BUSY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|MOVED|ASK"
    r"|NOAUTH|WRONGPASS|NOPERM)\b"
)
"""Error codes with which Redis refuses a call before doing anything (Redis docs, protocol)."""
REFUSING_TYPES: Final = (
    exceptions.ReadOnlyError,
    exceptions.ClusterDownError,
    exceptions.TryAgainError,
    exceptions.NoPermissionError,
    exceptions.AuthenticationError,
    exceptions.BusyLoadingError,
)
"""The same where redis-py has a type for the code, and cuts the code from the text."""
ANSWERED: Final = (
    exceptions.ResponseError,
    exceptions.BusyLoadingError,
    exceptions.AuthenticationError,
)
"""The server's own error replies. redis-py makes some of them ConnectionErrors."""


def refused(session_id: str, error: BaseException) -> StoreError:
    """Map an error reply: the server answered, and a script that answers so changed nothing.

    Scripts make one refusable write, so an error never leaves half of it behind.
    """
    text = _text(error)
    if isinstance(error, exceptions.OutOfMemoryError) or FULL.search(text):
        return StoreFull(f"session {session_id!r}: {text}")
    if isinstance(error, REFUSING_TYPES) or REFUSALS.search(text):
        return StoreUnavailable(f"session {session_id!r}: {text}")
    if "WRONGTYPE" in text:
        return CorruptRecord(f"the key holds something else ({text})", session_id=session_id)
    return StoreError(f"session {session_id!r}: the server answered: {text}")


def not_sent(session_id: str, error: BaseException) -> StoreError:
    """Map a failure before the call left: certainly not applied."""
    return StoreUnavailable(f"session {session_id!r}: no connection ({_text(error)})")


def no_reply(call: RedisCall[Any], error: BaseException) -> StoreError:
    """Map a failure after the call left: nobody can tell, but that a read changed nothing."""
    lost = StoreUnavailable if call.reads else OutcomeUnknown
    return lost(f"session {call.session_id!r}: the reply was lost ({_text(error)})")


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__
