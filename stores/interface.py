"""The store interface: what an agent may ask of its memory, with a sync and an async face.

A session is its history plus its context. It lives, expires, is evicted and is
deleted as one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, ClassVar, NoReturn, Self
from uuid import uuid4

from stores.errors import NotSupported

FEATURES = frozenset({"history", "context", "sessions", "ttl", "lock"})
"""The parts of the interface that a store may offer; a part it lacks raises `NotSupported`."""

FEATURE_OF = {
    "append_message": "history",
    "append_messages": "history",
    "get_history": "history",
    "load_session": "history",
    "save_context": "context",
    "load_context": "context",
    "update_context": "context",
    "delete_session": "sessions",
    "iter_sessions": "sessions",
    "set_ttl": "ttl",
    "get_ttl": "ttl",
    "lock": "lock",
}
"""The part of the interface that each method belongs to; the others belong to every store."""

Seconds = float | timedelta
"""A duration: seconds, or a timedelta. Milliseconds are kept."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation, as its author made it.

    ``id`` makes appending idempotent: the same message appended again is stored once.
    ``metadata`` holds JSON types, aware datetimes, dates, Decimal, bytes and UUID.
    ``created_at`` is the author's clock: it is kept, and never decides the order.
    """

    role: str
    content: str
    id: str = field(default_factory=lambda: uuid4().hex)
    metadata: dict[str, Any] = field(default_factory=dict)
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMessage(Message):
    """A message with its place: ``position`` counts from 1 without gaps, given by the server.

    ``stored_at`` is the server's clock, aware UTC.
    """

    position: int
    stored_at: datetime

    @property
    def message(self) -> Message:
        """The message as its author made it."""
        return Message(self.role, self.content, self.id, self.metadata, self.created_at)


@dataclass(frozen=True, slots=True)
class Context:
    """A session's context and its version. A version grows with every save and never repeats."""

    value: dict[str, Any]
    version: int


@dataclass(frozen=True, slots=True)
class Session:
    """History (oldest first) and context (None if there is none) of one moment."""

    session_id: str
    history: list[StoredMessage]
    context: Context | None


class Lease(ABC):
    """A lock held for a while. ``token`` fences: pass it to writes as ``fence``."""

    session_id: str
    token: int

    @abstractmethod
    def renew(self) -> None:
        """Hold on for another full lease. Raises LeaseLost where the lease ran out."""

    @abstractmethod
    def release(self) -> None:
        """Let go. Raises LeaseLost where the lease ran out before."""


class AsyncLease(ABC):
    """`Lease`, awaited."""

    session_id: str
    token: int

    @abstractmethod
    async def renew(self) -> None:
        """Hold on for another full lease. Raises LeaseLost where the lease ran out."""

    @abstractmethod
    async def release(self) -> None:
        """Let go. Raises LeaseLost where the lease ran out before."""


class MemoryStore(ABC):
    """The memory of agents, blocking. Thread-safe.

    Session ids are any non-empty text of up to 512 bytes in UTF-8. Every call may raise
    `StoreUnavailable` (certainly not applied) and `StoreClosed`; every write also
    `OutcomeUnknown` (may have been applied) and `StoreFull`; every read `CorruptRecord`
    and `UnsupportedRecordVersion`. Bad arguments are a ValueError or `NotSerializable`
    and send nothing.

    ``fence`` takes a lease's token: the write is refused with `LeaseLost`, and changes
    nothing, once a later token was given out or has written.
    """

    features: ClassVar[frozenset[str]] = FEATURES
    """A class that names fewer need not have the methods of the others: they are refused."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _refuse_the_rest(cls)

    @abstractmethod
    def append_message(
        self, session_id: str, message: Message, *, fence: int | None = None
    ) -> StoredMessage:
        """Append one message, idempotently by its id: a repeat gives the first result.

        Raises Conflict where the id is taken by other content (role, content or metadata).
        """

    @abstractmethod
    def append_messages(
        self, session_id: str, messages: Sequence[Message], *, fence: int | None = None
    ) -> list[StoredMessage]:
        """Append one turn: all or none, contiguous. An empty turn does nothing."""

    @abstractmethod
    def get_history(
        self, session_id: str, limit: int | None = 100, before: int | None = None
    ) -> list[StoredMessage]:
        """Return the newest ``limit`` messages (before a position), oldest first.

        ``limit=None`` is all, 0 is none; a negative one is a ValueError.
        """

    @abstractmethod
    def save_context(
        self,
        session_id: str,
        context: Mapping[str, Any],
        *,
        if_version: int | None = None,
        fence: int | None = None,
    ) -> int:
        """Replace the context; return its new version.

        Raises Conflict where ``if_version`` is not the stored version (0: none is stored).
        """

    @abstractmethod
    def load_context(self, session_id: str) -> Context | None:
        """Return the context, None only if there is none."""

    @abstractmethod
    def update_context(
        self,
        session_id: str,
        change: Callable[[dict[str, Any]], Mapping[str, Any]],
        *,
        fence: int | None = None,
    ) -> Context:
        """Read, change and save if unchanged, trying again a bounded number of times.

        ``change`` gets the current value ({} if there is none), may be called again and
        returns the new one. What it raises reaches the caller, and nothing was saved.
        Raises Conflict when other writers won every time.
        """

    @abstractmethod
    def load_session(self, session_id: str, limit: int | None = 100) -> Session | None:
        """Return the newest ``limit`` messages and the context of one moment; None if absent."""

    @abstractmethod
    def delete_session(self, session_id: str, *, fence: int | None = None) -> bool:
        """Delete history and context. True if there was a session."""

    @abstractmethod
    def iter_sessions(self) -> Iterator[str]:
        """Yield the id of each live session of the namespace once, in no order."""

    @abstractmethod
    def set_ttl(self, session_id: str, ttl: Seconds | None) -> None:
        """Give a session a TTL of its own, from now and with every later write; None: for ever.

        Raises ValueError for a TTL that is not positive, NoSuchSession where there is none.
        """

    @abstractmethod
    def get_ttl(self, session_id: str) -> timedelta | None:
        """Return the time left, None for ever. Raises NoSuchSession where there is none."""

    @abstractmethod
    def lock(
        self, session_id: str, *, lease: Seconds, wait: Seconds
    ) -> AbstractContextManager[Lease]:
        """Hold the session's lock. Raises LockNotAcquired after ``wait``.

        The lock ends by itself after ``lease``; leaving the block later raises LeaseLost.
        It advises: only writes that pass the lease's token as ``fence`` are refused.
        """

    @abstractmethod
    def ping(self) -> None:
        """Return if the server answers; raise StoreUnavailable if not."""

    @abstractmethod
    def close(self) -> None:
        """Close every connection. Later calls raise StoreClosed; closing again does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class AsyncMemoryStore(ABC):
    """`MemoryStore`, awaited: the same calls, results and errors."""

    features: ClassVar[frozenset[str]] = FEATURES
    """See `MemoryStore.features`."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _refuse_the_rest(cls)

    @abstractmethod
    async def append_message(
        self, session_id: str, message: Message, *, fence: int | None = None
    ) -> StoredMessage:
        """See `MemoryStore.append_message`."""

    @abstractmethod
    async def append_messages(
        self, session_id: str, messages: Sequence[Message], *, fence: int | None = None
    ) -> list[StoredMessage]:
        """See `MemoryStore.append_messages`."""

    @abstractmethod
    async def get_history(
        self, session_id: str, limit: int | None = 100, before: int | None = None
    ) -> list[StoredMessage]:
        """See `MemoryStore.get_history`."""

    @abstractmethod
    async def save_context(
        self,
        session_id: str,
        context: Mapping[str, Any],
        *,
        if_version: int | None = None,
        fence: int | None = None,
    ) -> int:
        """See `MemoryStore.save_context`."""

    @abstractmethod
    async def load_context(self, session_id: str) -> Context | None:
        """See `MemoryStore.load_context`."""

    @abstractmethod
    async def update_context(
        self,
        session_id: str,
        change: Callable[[dict[str, Any]], Mapping[str, Any] | Awaitable[Mapping[str, Any]]],
        *,
        fence: int | None = None,
    ) -> Context:
        """See `MemoryStore.update_context`; ``change`` may be a coroutine function."""

    @abstractmethod
    async def load_session(self, session_id: str, limit: int | None = 100) -> Session | None:
        """See `MemoryStore.load_session`."""

    @abstractmethod
    async def delete_session(self, session_id: str, *, fence: int | None = None) -> bool:
        """See `MemoryStore.delete_session`."""

    @abstractmethod
    def iter_sessions(self) -> AsyncIterator[str]:
        """See `MemoryStore.iter_sessions`."""

    @abstractmethod
    async def set_ttl(self, session_id: str, ttl: Seconds | None) -> None:
        """See `MemoryStore.set_ttl`."""

    @abstractmethod
    async def get_ttl(self, session_id: str) -> timedelta | None:
        """See `MemoryStore.get_ttl`."""

    @abstractmethod
    def lock(
        self, session_id: str, *, lease: Seconds, wait: Seconds
    ) -> AbstractAsyncContextManager[AsyncLease]:
        """See `MemoryStore.lock`."""

    @abstractmethod
    async def ping(self) -> None:
        """See `MemoryStore.ping`."""

    @abstractmethod
    async def close(self) -> None:
        """See `MemoryStore.close`."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


def _refuse_the_rest(cls: type[MemoryStore | AsyncMemoryStore]) -> None:
    """Let a class refuse the calls of features that it does not offer, and have all others."""
    face = MemoryStore if issubclass(cls, MemoryStore) else AsyncMemoryStore
    for name, feature in FEATURE_OF.items():
        method = getattr(cls, name)
        if feature in cls.features and hasattr(method, "refuses"):
            setattr(cls, name, getattr(face, name))  # refused by a class that offers less
        elif feature not in cls.features and hasattr(method, "__isabstractmethod__"):
            setattr(cls, name, _refusal(name, feature))


def _refusal(name: str, feature: str) -> Callable[..., NoReturn]:
    def refused(self: object, *_args: object, **_kwargs: object) -> NoReturn:
        raise NotSupported(f"{type(self).__name__} has no {name}: it does not offer {feature}")

    refused.refuses = feature  # type: ignore[attr-defined] # known again in a subclass
    return refused
