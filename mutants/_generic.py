"""Bugs that any store can be given, by wrapping it: for stores whose insides are not known here."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from stores.errors import StoreError
from stores.interface import (
    Context,
    Lease,
    MemoryStore,
    Message,
    Seconds,
    Session,
    StoredMessage,
)

STALE_SECONDS = 0.05
"""How long a read is answered from a cache."""


class Wrapped(MemoryStore):
    """Another store, call for call: a bug is one call that it does in another way."""

    rule = ""
    test = ""

    def __init__(self, inner: MemoryStore) -> None:
        self.inner = inner

    @classmethod
    def options(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Return the options that the store is opened with."""
        return given

    def append_message(
        self, session_id: str, message: Message, *, fence: int | None = None
    ) -> StoredMessage:
        return self.inner.append_message(session_id, message, fence=fence)

    def append_messages(
        self, session_id: str, messages: Sequence[Message], *, fence: int | None = None
    ) -> list[StoredMessage]:
        return self.inner.append_messages(session_id, messages, fence=fence)

    def get_history(
        self, session_id: str, limit: int | None = 100, before: int | None = None
    ) -> list[StoredMessage]:
        return self.inner.get_history(session_id, limit, before)

    def save_context(
        self,
        session_id: str,
        context: Mapping[str, Any],
        *,
        if_version: int | None = None,
        fence: int | None = None,
    ) -> int:
        return self.inner.save_context(session_id, context, if_version=if_version, fence=fence)

    def load_context(self, session_id: str) -> Context | None:
        return self.inner.load_context(session_id)

    def update_context(
        self,
        session_id: str,
        change: Callable[[dict[str, Any]], Mapping[str, Any]],
        *,
        fence: int | None = None,
    ) -> Context:
        return self.inner.update_context(session_id, change, fence=fence)

    def load_session(self, session_id: str, limit: int | None = 100) -> Session | None:
        return self.inner.load_session(session_id, limit)

    def delete_session(self, session_id: str, *, fence: int | None = None) -> bool:
        return self.inner.delete_session(session_id, fence=fence)

    def iter_sessions(self) -> Iterator[str]:
        return self.inner.iter_sessions()

    def set_ttl(self, session_id: str, ttl: Seconds | None) -> None:
        self.inner.set_ttl(session_id, ttl)

    def get_ttl(self, session_id: str) -> timedelta | None:
        return self.inner.get_ttl(session_id)

    @contextmanager
    def lock(self, session_id: str, *, lease: Seconds, wait: Seconds) -> Iterator[Lease]:
        with self.inner.lock(session_id, lease=lease, wait=wait) as held:
            yield held

    def ping(self) -> None:
        self.inner.ping()

    def close(self) -> None:
        self.inner.close()


class SwallowsWriteErrors(Wrapped):
    """A write that fails is logged, and answered as if it had been stored."""

    rule, test = "net-3", "test_every_call_says_that_the_server_is_out_of_reach"

    def append_message(
        self, session_id: str, message: Message, *, fence: int | None = None
    ) -> StoredMessage:
        try:
            return super().append_message(session_id, message, fence=fence)
        except StoreError:
            return _as_if_stored(message, 1)


class SwallowsReadErrors(Wrapped):
    """A read that fails is answered with "nothing is stored"."""

    rule, test = "net-3", "test_every_call_says_that_the_server_is_out_of_reach"

    def get_history(
        self, session_id: str, limit: int | None = 100, before: int | None = None
    ) -> list[StoredMessage]:
        try:
            return super().get_history(session_id, limit, before)
        except StoreError:
            return []


class DropsTheTtl(Wrapped):
    """The store's TTL is never passed on."""

    rule, test = "ttl-2", "test_every_write_refreshes_the_ttl_and_no_read_does"

    @classmethod
    def options(cls, given: dict[str, Any]) -> dict[str, Any]:
        return {**given, "ttl": None}


class LosesEveryFiftiethWrite(Wrapped):
    """One message in fifty is acknowledged and not stored."""

    rule, test = "con-1", "test_concurrent_appends_and_reads_have_one_order"
    count = 0

    def append_messages(
        self, session_id: str, messages: Sequence[Message], *, fence: int | None = None
    ) -> list[StoredMessage]:
        self.count += 1
        if self.count % 50 == 5:  # a contract makes fewer than fifty in one store
            newest = self.get_history(session_id, 1)
            first = newest[0].position + 1 if newest else 1
            return [_as_if_stored(one, n) for n, one in enumerate(messages, first)]
        return super().append_messages(session_id, messages, fence=fence)


class ReordersOnTies(Wrapped):
    """Messages with equal timestamps come in the order of their ids."""

    rule, test = "conv-3", "test_no_clients_clock_decides_the_order"

    def get_history(
        self, session_id: str, limit: int | None = 100, before: int | None = None
    ) -> list[StoredMessage]:
        found = super().get_history(session_id, limit, before)
        tied = len({one.created_at for one in found}) == 1
        return sorted(found, key=lambda one: one.id) if tied else found


class ReadsStale(Wrapped):
    """A history is answered from a cache for a moment: the newest message is missing."""

    rule, test = "conv-2", "test_limit_gives_the_newest_oldest_first"

    def __init__(self, inner: MemoryStore) -> None:
        super().__init__(inner)
        self._cache: dict[str, tuple[float, list[StoredMessage]]] = {}

    def get_history(
        self, session_id: str, limit: int | None = 100, before: int | None = None
    ) -> list[StoredMessage]:
        at, found = self._cache.get(session_id, (0.0, []))
        if time.monotonic() - at > STALE_SECONDS:
            found = super().get_history(session_id, limit, before)
            self._cache[session_id] = time.monotonic(), found
        return found


class LeaksConnections(Wrapped):
    """`close` forgets to close."""

    rule, test = "net-8", "test_neither_use_nor_failures_nor_closing_leak_connections"

    def close(self) -> None:
        _KEPT.append(self.inner)


_KEPT: list[MemoryStore] = []


class SavesUnguarded(Wrapped):
    """`if_version` is not passed on: the last writer wins."""

    rule, test = "ctx-2", "test_one_of_many_writers_wins"

    def save_context(
        self,
        session_id: str,
        context: Mapping[str, Any],
        *,
        if_version: int | None = None,
        fence: int | None = None,
    ) -> int:
        return super().save_context(session_id, context, fence=fence)


class MergesInTheClient(Wrapped):
    """An update reads, merges and writes: of two at once, one is lost."""

    rule, test = "ctx-3", "test_updates_of_disjoint_keys_are_all_kept"

    def update_context(
        self,
        session_id: str,
        change: Callable[[dict[str, Any]], Mapping[str, Any]],
        *,
        fence: int | None = None,
    ) -> Context:
        found = self.load_context(session_id)
        value = dict(change(found.value if found else {}))
        return Context(value, self.save_context(session_id, value, fence=fence))


class WritesTurnsOneByOne(Wrapped):
    """A turn is appended message by message."""

    rule, test = "conv-5", "test_batches_of_two_writers_stay_contiguous"

    def append_messages(
        self, session_id: str, messages: Sequence[Message], *, fence: int | None = None
    ) -> list[StoredMessage]:
        return [self.append_message(session_id, one, fence=fence) for one in messages]


class WritesDatesAsText(Wrapped):
    """`json.dumps(default=str)`: a datetime comes back as text."""

    rule, test = "ctx-1", "test_load_gives_what_save_stored"

    def save_context(
        self,
        session_id: str,
        context: Mapping[str, Any],
        *,
        if_version: int | None = None,
        fence: int | None = None,
    ) -> int:
        plain = {k: str(v) if isinstance(v, datetime) else v for k, v in context.items()}
        return super().save_context(session_id, plain, if_version=if_version, fence=fence)


class LocksNobodyOut(Wrapped):
    """Every caller gets the lock, under a name of its own."""

    rule, test = "lock-1", "test_one_holder_among_threads"
    count = 0

    @contextmanager
    def lock(self, session_id: str, *, lease: Seconds, wait: Seconds) -> Iterator[Lease]:
        self.count += 1
        with super().lock(f"{session_id} {self.count}", lease=lease, wait=wait) as held:
            yield held


class DeletesNothing(Wrapped):
    """A delete answers True, and leaves everything."""

    rule, test = "iso-2", "test_delete_takes_one_session_and_nothing_else"

    def delete_session(self, session_id: str, *, fence: int | None = None) -> bool:
        return self.load_session(session_id) is not None


GENERIC: dict[str, type[Wrapped]] = {kind.__name__: kind for kind in Wrapped.__subclasses__()}


def _as_if_stored(message: Message, position: int) -> StoredMessage:
    return StoredMessage(
        message.role,
        message.content,
        message.id,
        message.metadata,
        message.created_at,
        position=position,
        stored_at=datetime.now(UTC),
    )
