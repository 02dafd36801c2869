"""What can go wrong with a memory store: every error tells what happened to the data.

No driver exception escapes a store and no call answers with a stand-in: a caller
sees one of these, chained from the driver's own exception (``__cause__``).
"""

from __future__ import annotations

from typing import Any


class StoreError(Exception):
    """Base of every error that a store raises on purpose. Can be sent to other processes."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), self.args, self.__dict__)


def _restored(kind: type[StoreError], args: tuple[Any, ...], state: dict[str, Any]) -> StoreError:
    """Make an error again as it was: calling its class would need what its text was made of."""
    error: StoreError = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class StoreUnavailable(StoreError):
    """The server could not serve the call. It was certainly not applied."""


class OutcomeUnknown(StoreError):
    """The connection failed after the call was sent: it may have been applied, or not.

    Appending the same message again (same id) is always safe.
    """


class StoreFull(StoreError):
    """The server has no memory or disk left for the write. It was not applied."""


class StoreClosed(StoreError):
    """The store was closed; nothing was sent."""


class NotSupported(StoreError):
    """This store does not offer the call (see its ``features``)."""


class NotSerializable(StoreError):
    """The value could not come back equal and of the same type. Nothing was sent."""


class RecordTooLarge(NotSerializable):
    """The encoded record is longer than ``max_record_bytes``. Nothing was sent."""


class Conflict(StoreError):
    """Somebody else was first: a stale ``if_version``, or a message id used for other content."""


class NoSuchSession(StoreError):
    """The call needs a session that exists (its TTL can be neither read nor set)."""


class LockNotAcquired(StoreError):
    """The lock stayed with another holder for the whole ``wait``."""


class LeaseLost(StoreError):
    """The lease ran out or went to another holder; the guarded call was not applied."""


class CorruptRecord(StoreError):
    """What the server holds is not a record of this store.

    Attributes:
        session_id: the session the record belongs to.
        position: the message's position; None for the context or the session as a whole.
        raw: the bytes found, or None where something is missing.
    """

    def __init__(
        self, why: str, *, session_id: str, position: int | None = None, raw: bytes | None = None
    ) -> None:
        where = "" if position is None else f", message {position}"
        super().__init__(f"session {session_id!r}{where}: {why}")
        self.session_id = session_id
        self.position = position
        self.raw = raw


class UnsupportedRecordVersion(StoreError):
    """The record was written by a newer release than this one; upgrade the reader.

    Attributes: as of `CorruptRecord`, and ``version``, the record's format version.
    """

    def __init__(
        self, version: int, *, session_id: str, position: int | None = None, raw: bytes
    ) -> None:
        where = "" if position is None else f", message {position}"
        super().__init__(
            f"session {session_id!r}{where}: the record has format version {version}, "
            "newer than this release reads"
        )
        self.version = version
        self.session_id = session_id
        self.position = position
        self.raw = raw
