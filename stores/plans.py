"""Every store operation once, without I/O: what to send, when to try again, what it means.

A plan is a generator. It yields steps, a sync or an async shell carries them out and
sends the replies back. So both faces of every backend check, retry and report alike.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any, TypeVar
from uuid import uuid4

from stores import codec
from stores.calls import (
    FOR_EVER,
    Busy,
    Call,
    Commands,
    Fenced,
    PartlyStored,
    Pause,
    Plan,
    RawContext,
    RawMessage,
    Send,
    Stale,
)
from stores.checks import (
    check_message_id,
    check_session_id,
    check_version,
    checked_before,
    checked_limit,
    milliseconds,
    ttl_milliseconds,
)
from stores.errors import (
    Conflict,
    CorruptRecord,
    LeaseLost,
    LockNotAcquired,
    NoSuchSession,
    OutcomeUnknown,
    StoreFull,
    StoreUnavailable,
)
from stores.interface import Context, Message, Seconds, Session, StoredMessage

UPDATE_ATTEMPTS = 100
"""Tries of `update_context`. Each lost try means that another writer's save went through."""
LONGEST_UPDATE_PAUSE = 0.050
"""Seconds. With 10 ms, a third more of the tries of fifty writers were lost, and the time too."""
LOCK_POLL_SECONDS = (0.002, 0.050)
"""Waiting for a lock starts with the first pause and doubles up to the second."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Reply = TypeVar("Reply")
Change = Callable[[dict[str, Any]], Any]


class Plans:
    """The operations of one store. Has settings and no state, so it is safe to share.

    ``timeout`` (seconds) bounds every operation's talk with the server, tries included.
    """

    def __init__(
        self, commands: Commands, *, ttl: Seconds | None, timeout: float, max_record_bytes: int
    ) -> None:
        self.commands = commands
        self.ttl_ms = ttl_milliseconds(ttl)
        self.timeout = milliseconds("timeout", timeout) / 1000
        self.max_record_bytes = max_record_bytes

    def append_messages(
        self, session_id: str, messages: Sequence[Message], fence: int | None
    ) -> Plan[list[StoredMessage]]:
        """Plan `MemoryStore.append_messages`."""
        check_session_id(session_id)
        check_version("fence", fence)
        entries = [(m.id, codec.encode_message(m, self.max_record_bytes)) for m in messages]
        for message in messages:
            check_message_id(message.id)
        if len(messages) > 1 and len({message.id for message in messages}) < len(messages):
            raise ValueError("two messages of one turn have the same id")
        if not entries:
            return []
        reply = yield from self._send(self.commands.append(session_id, entries, self.ttl_ms, fence))
        if isinstance(reply, Fenced):
            raise _lease_lost(session_id, reply)
        if isinstance(reply, PartlyStored):
            raise Conflict(f"session {session_id!r}: some of the turn's ids are stored already")
        stored = [
            _confirmed(session_id, message, record, raw)
            for message, (_, record), raw in zip(messages, entries, reply.messages, strict=True)
        ]
        if any(after.position != stored[0].position + n for n, after in enumerate(stored)):
            raise Conflict(f"session {session_id!r}: the turn's ids were stored apart before")
        return stored

    def get_history(
        self, session_id: str, limit: int | None, before: int | None
    ) -> Plan[list[StoredMessage]]:
        """Plan `MemoryStore.get_history`."""
        check_session_id(session_id)
        limit, before = checked_limit(limit), checked_before(before)
        raw = yield from self._send(self.commands.history(session_id, limit, before))
        return [_stored(session_id, message) for message in raw]

    def save_context(
        self,
        session_id: str,
        context: Mapping[str, Any],
        if_version: int | None,
        fence: int | None,
    ) -> Plan[int]:
        """Plan `MemoryStore.save_context`."""
        check_session_id(session_id)
        check_version("if_version", if_version)
        check_version("fence", fence)
        record = codec.encode_context(context, self.max_record_bytes)
        reply = yield from self._send(
            self.commands.save_context(
                session_id, record, if_version, uuid4().hex, self.ttl_ms, fence
            )
        )
        if isinstance(reply, Fenced):
            raise _lease_lost(session_id, reply)
        if isinstance(reply, Stale):
            raise Conflict(
                f"session {session_id!r}: the context has version {reply.version}, not {if_version}"
            )
        return reply

    def load_context(self, session_id: str) -> Plan[Context | None]:
        """Plan `MemoryStore.load_context`."""
        return (yield from self._load_context(session_id, newest=False))

    def update_context(self, session_id: str, change: Change, fence: int | None) -> Plan[Context]:
        """Plan `MemoryStore.update_context`. An awaitable that ``change`` gives is a step too."""
        for attempt in range(UPDATE_ATTEMPTS):
            current = yield from self._load_context(session_id, newest=True)
            version = current.version if current else 0
            changed = change(current.value if current else {})
            if hasattr(changed, "__await__"):
                changed = yield changed
            try:
                version = yield from self.save_context(session_id, changed, version, fence)
            except Conflict:
                yield Pause(random.uniform(0, min(0.0005 * 2**attempt, LONGEST_UPDATE_PAUSE)))
            else:
                return Context(changed, version)
        raise Conflict(
            f"session {session_id!r}: other writers saved first in all {UPDATE_ATTEMPTS} tries"
        )

    def load_session(self, session_id: str, limit: int | None) -> Plan[Session | None]:
        """Plan `MemoryStore.load_session`."""
        check_session_id(session_id)
        raw = yield from self._send(self.commands.load_session(session_id, checked_limit(limit)))
        if raw is None:
            return None
        history = [_stored(session_id, message) for message in raw.messages]
        return Session(session_id, history, _context(session_id, raw.context))

    def delete_session(self, session_id: str, fence: int | None) -> Plan[bool]:
        """Plan `MemoryStore.delete_session`."""
        check_session_id(session_id)
        check_version("fence", fence)
        reply = yield from self._send(self.commands.delete_session(session_id, fence))
        if isinstance(reply, Fenced):
            raise _lease_lost(session_id, reply)
        return reply

    def set_ttl(self, session_id: str, ttl: Seconds | None) -> Plan[None]:
        """Plan `MemoryStore.set_ttl`."""
        check_session_id(session_id)
        if not (yield from self._send(self.commands.set_ttl(session_id, ttl_milliseconds(ttl)))):
            raise NoSuchSession(f"session {session_id!r} does not exist")

    def get_ttl(self, session_id: str) -> Plan[timedelta | None]:
        """Plan `MemoryStore.get_ttl`."""
        check_session_id(session_id)
        remaining = yield from self._send(self.commands.get_ttl(session_id))
        if remaining is None:
            raise NoSuchSession(f"session {session_id!r} does not exist")
        return None if remaining == FOR_EVER else timedelta(milliseconds=remaining)

    def acquire(self, session_id: str, owner: str, lease: Seconds, wait: Seconds) -> Plan[int]:
        """Plan taking the lock within ``wait``; gives the fencing token."""
        check_session_id(session_id)
        lease_ms = milliseconds("lease", lease)
        give_up = monotonic() + milliseconds("wait", wait, least=0) / 1000
        pause, longest = LOCK_POLL_SECONDS
        while True:
            reply = yield from self._send(self.commands.acquire(session_id, owner, lease_ms))
            if not isinstance(reply, Busy):
                return reply.token
            left = give_up - monotonic()
            if left <= 0:
                raise LockNotAcquired(
                    f"session {session_id!r}: another holds the lock, for "
                    f"{reply.remaining_ms} ms more if not renewed"
                )
            yield Pause(min(left, pause * random.uniform(0.5, 1)))
            pause = min(2 * pause, longest)

    def renew(self, session_id: str, owner: str, lease: Seconds) -> Plan[None]:
        """Plan `Lease.renew`."""
        call = self.commands.renew(session_id, owner, milliseconds("lease", lease))
        if not (yield from self._send(call)):
            raise LeaseLost(f"session {session_id!r}: the lease ran out")

    def release(self, session_id: str, owner: str) -> Plan[None]:
        """Plan `Lease.release`."""
        if not (yield from self._send(self.commands.release(session_id, owner))):
            raise LeaseLost(f"session {session_id!r}: the lease ran out before it was released")

    def page(self, cursor: Any) -> Plan[tuple[list[str], Any]]:
        """Plan one page of `MemoryStore.iter_sessions`."""
        page = yield from self._send(self.commands.sessions(cursor))
        return page.session_ids, page.cursor

    def ping(self) -> Plan[None]:
        """Plan `MemoryStore.ping`."""
        yield from self._send(self.commands.ping())

    def _load_context(self, session_id: str, *, newest: bool) -> Plan[Context | None]:
        check_session_id(session_id)
        call = self.commands.load_context(session_id)
        if newest:
            call = replace(call, newest=True)
        return _context(session_id, (yield from self._send(call)))

    def _send(self, call: Call[Reply]) -> Plan[Reply]:
        """Send a call, once more if that is safe and at least half the timeout is left.

        Half, because a connection that cannot be made is given up within half the timeout.
        """
        deadline = monotonic() + self.timeout
        try:
            reply: Reply = yield Send(call, deadline)
        except (StoreUnavailable, OutcomeUnknown) as error:
            unknown = isinstance(error, OutcomeUnknown)
            late = deadline - monotonic() < self.timeout / 2
            if late or (unknown and not call.repeatable):
                raise
            try:
                reply = yield Send(call, deadline)
            except (StoreUnavailable, StoreFull):
                if unknown:
                    # The second try was not applied, but the first may have been.
                    raise error from error.__cause__
                raise
            if unknown and isinstance(reply, Stale | PartlyStored | Fenced):
                # Perhaps the first try was applied and then overtaken: nobody can tell.
                raise
        return reply


def new_owner() -> str:
    """Return an id that no other holder of a lock has."""
    return uuid4().hex


def _lease_lost(session_id: str, reply: Fenced) -> LeaseLost:
    return LeaseLost(f"session {session_id!r}: a later fencing token, {reply.token}, was given out")


def _context(session_id: str, raw: RawContext | None) -> Context | None:
    if raw is None:
        return None
    return Context(codec.decode_context(raw.record, session_id), raw.version)


def _stored(session_id: str, raw: RawMessage) -> StoredMessage:
    if raw.record is None:
        raise CorruptRecord("the message is missing", session_id=session_id, position=raw.position)
    return codec.decode_message(raw.record, session_id, raw.position, _stored_at(session_id, raw))


def _stored_at(session_id: str, raw: RawMessage) -> datetime:
    try:
        return EPOCH + timedelta(microseconds=raw.stored_at_us)
    except OverflowError as error:
        raise CorruptRecord(
            f"stored_at is {raw.stored_at_us} microseconds",
            session_id=session_id,
            position=raw.position,
            raw=raw.record,
        ) from error


def _confirmed(session_id: str, message: Message, record: bytes, raw: RawMessage) -> StoredMessage:
    """Return what is stored under a message's id; raise Conflict if it says something else."""
    if raw.record == record and not message.metadata:
        # The very bytes that were sent: decoding them would give the same message.
        return StoredMessage(
            *(message.role, message.content, message.id, {}, message.created_at),
            position=raw.position,
            stored_at=_stored_at(session_id, raw),
        )
    stored = _stored(session_id, raw)
    if not _same_content(message, stored):
        raise Conflict(
            f"session {session_id!r}: the id {message.id!r} is taken by other content "
            f"at position {stored.position}"
        )
    return stored


def _same_content(message: Message, stored: StoredMessage) -> bool:
    """Compare what a message says. Its author's clock may differ: a retry can be built anew."""
    return _said(message) == _said(stored)


def _said(message: Message) -> bytes:
    said = {"role": message.role, "content": message.content, "metadata": message.metadata}
    return codec.encode_context(said, sys.maxsize)
