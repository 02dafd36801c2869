"""Memory stores for AI agents: one interface, two faces, two backends.

Copy this package into production as it is: it needs nothing but a driver.
"""

from stores.errors import (
    Conflict,
    CorruptRecord,
    LeaseLost,
    LockNotAcquired,
    NoSuchSession,
    NotSerializable,
    NotSupported,
    OutcomeUnknown,
    RecordTooLarge,
    StoreClosed,
    StoreError,
    StoreFull,
    StoreUnavailable,
    UnsupportedRecordVersion,
)
from stores.interface import (
    FEATURES,
    AsyncLease,
    AsyncMemoryStore,
    Context,
    Lease,
    MemoryStore,
    Message,
    Session,
    StoredMessage,
)

__all__ = [
    "FEATURES",
    "AsyncLease",
    "AsyncMemoryStore",
    "Conflict",
    "Context",
    "CorruptRecord",
    "Lease",
    "LeaseLost",
    "LockNotAcquired",
    "MemoryStore",
    "Message",
    "NoSuchSession",
    "NotSerializable",
    "NotSupported",
    "OutcomeUnknown",
    "RecordTooLarge",
    "Session",
    "StoreClosed",
    "StoreError",
    "StoreFull",
    "StoreUnavailable",
    "StoredMessage",
    "UnsupportedRecordVersion",
]
