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
from stores.redis.driver import code_of

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
    exceptions.AskError,
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
    text = text_of(error)
    if isinstance(error, exceptions.OutOfMemoryError) or FULL.search(text):
        return StoreFull(f"session {session_id!r}: {text}")
    if isinstance(error, REFUSING_TYPES) or REFUSALS.search(text):
        return StoreUnavailable(f"session {session_id!r}: {text}")
    if "WRONGTYPE" in text:
        return CorruptRecord(f"the key holds something else ({text})", session_id=session_id)
    return StoreError(f"session {session_id!r}: the server answered: {text}")


def not_sent(session_id: str, error: BaseException) -> StoreError:
    """Map a failure before the call left: certainly not applied."""
    return StoreUnavailable(f"session {session_id!r}: no connection ({text_of(error)})")


def no_reply(call: RedisCall[Any], error: BaseException) -> StoreError:
    """Map a failure after the call left: nobody can tell, but that a read changed nothing."""
    lost = StoreUnavailable if call.reads else OutcomeUnknown
    return lost(f"session {call.session_id!r}: the reply was lost ({text_of(error)})")


def text_of(error: BaseException | None) -> str:
    """Return what an error says, with the code that redis-py has cut from a server's answer."""
    text = str(error) or type(error).__name__
    code = code_of(error)
    return text if code in text else f"{code} {text}"
