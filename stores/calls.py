"""What a plan asks of a backend: calls, each one atomic step, and their raw replies.

A backend's commands build `Call` objects and know how to parse the reply; a store's
shell carries them to the server and back. Neither knows what they are for.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

Reply_co = TypeVar("Reply_co", covariant=True)
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[Reply_co]):
    """One atomic step on the server, in one round trip.

    ``repeatable`` says that sending it twice has the effect of sending it once, so that
    it may be tried again after an unknown outcome. ``newest`` says that only the server
    that takes writes may answer. ``parse`` turns the driver's raw reply into the call's;
    it may raise CorruptRecord.
    """

    session_id: str
    repeatable: bool
    newest: bool = False
    parse: Callable[[Any], Reply_co]


@dataclass(frozen=True, slots=True)
class Send:
    """A plan's step: carry the call to the server before the deadline (time.monotonic)."""

    call: Call[Any]
    deadline: float


@dataclass(frozen=True, slots=True)
class Pause:
    """A plan's step: wait."""

    seconds: float


Plan = Generator[Send | Pause, Any, Result]
"""A store operation without its I/O: yields steps, is sent their replies, returns the result."""


@dataclass(frozen=True, slots=True)
class RawMessage:
    """A message as the server holds it. ``record`` is None where the server has a hole."""

    position: int
    stored_at_us: int
    record: bytes | None


@dataclass(frozen=True, slots=True)
class RawContext:
    """A context as the server holds it."""

    record: bytes
    version: int


@dataclass(frozen=True, slots=True)
class RawSession:
    """A session's newest messages and context as of one moment."""

    messages: list[RawMessage]
    context: RawContext | None


@dataclass(frozen=True, slots=True)
class Appended:
    """The batch is stored, now or by an earlier call with the same ids; in batch order."""

    messages: list[RawMessage]


@dataclass(frozen=True, slots=True)
class PartlyStored:
    """Some of the batch's ids were stored before, others not; nothing was written."""


@dataclass(frozen=True, slots=True)
class Stale:
    """The stored version is another than the expected one; nothing was written."""

    version: int


@dataclass(frozen=True, slots=True)
class Fenced:
    """A later fencing token was given out or has written; nothing was written."""

    token: int


@dataclass(frozen=True, slots=True)
class Held:
    """The lock is the caller's, under this token."""

    token: int


@dataclass(frozen=True, slots=True)
class Busy:
    """The lock is another's for this long."""

    remaining_ms: int


@dataclass(frozen=True, slots=True)
class Page:
    """Some session ids (the same one may come twice) and where to go on; None at the end."""

    session_ids: list[str]
    cursor: Any


FOR_EVER = 0
"""A TTL in milliseconds that means: no expiry."""


class Commands(Protocol):
    """What a backend offers: every method builds one atomic call, and touches nothing.

    ``ttl_ms`` is the store's TTL, `FOR_EVER` for none; a TTL that the session was given
    of its own goes before it. ``fence`` is a fencing token or None.
    """

    def append(
        self, session_id: str, entries: Sequence[tuple[str, bytes]], ttl_ms: int, fence: int | None
    ) -> Call[Appended | PartlyStored | Fenced]:
        """Store (id, record) pairs behind the last position, unless they are stored already."""

    def history(
        self, session_id: str, limit: int | None, before: int | None
    ) -> Call[list[RawMessage]]:
        """Read the newest ``limit`` messages before a position, oldest first."""

    def save_context(
        self,
        session_id: str,
        record: bytes,
        if_version: int | None,
        write_id: str,
        ttl_ms: int,
        fence: int | None,
    ) -> Call[int | Stale | Fenced]:
        """Store a context. A repeat with the stored ``write_id`` gives the first result."""

    def load_context(self, session_id: str) -> Call[RawContext | None]:
        """Read the context."""

    def load_session(self, session_id: str, limit: int | None) -> Call[RawSession | None]:
        """Read the newest messages and the context at once."""

    def delete_session(self, session_id: str, fence: int | None) -> Call[bool | Fenced]:
        """Delete everything of the session but its lock."""

    def set_ttl(self, session_id: str, ttl_ms: int) -> Call[bool]:
        """Give the session a TTL of its own; False where there is no session."""

    def get_ttl(self, session_id: str) -> Call[int | None]:
        """Read the milliseconds left (`FOR_EVER` for ever); None where there is no session."""

    def acquire(self, session_id: str, owner: str, lease_ms: int) -> Call[Held | Busy]:
        """Take the lock, if it is free or the owner's already."""

    def renew(self, session_id: str, owner: str, lease_ms: int) -> Call[bool]:
        """Extend the owner's lease; False where it is not the owner's any more."""

    def release(self, session_id: str, owner: str) -> Call[bool]:
        """Free the lock; False where it is not the owner's any more."""

    def sessions(self, cursor: Any) -> Call[Page]:
        """List some live sessions; ``cursor`` is None at the start."""

    def ping(self) -> Call[None]:
        """Ask the server for a sign of life."""
