"""A dict that answers a store's calls as its server would, in the process of the test.

A small and fair imitation of what teams write: it keeps all that a well-behaved caller can
see of the server (positions, ids, versions, lifetimes, locks, tokens), does one call at a
time, and knows nothing of scripts, statements, networks, disks and other processes.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from stores.calls import (
    FOR_EVER,
    Appended,
    Busy,
    Call,
    Fenced,
    Held,
    Page,
    PartlyStored,
    RawContext,
    RawMessage,
    RawSession,
    Stale,
)


@dataclass
class Kept:
    """A session in the dict."""

    messages: dict[int, RawMessage] = field(default_factory=dict)
    ids: dict[str, int] = field(default_factory=dict)
    last: int = 0
    context: RawContext | None = None
    write_id: str = ""
    own_ttl_ms: int | None = None
    ends: float | None = None
    fence: int = 0


@dataclass
class Lock:
    """A lock in the dict."""

    owner: str = ""
    ends: float = 0.0
    token: int = 0


SESSIONS: dict[str, dict[str, Kept]] = defaultdict(dict)
"""By namespace: what the "server" holds."""
LOCKS: dict[tuple[str, str], Lock] = defaultdict(Lock)
ONE_AT_A_TIME = threading.RLock()


class Memory:
    """`stores.calls.Commands` of a dict: every call is done when it is parsed."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._sessions = SESSIONS[namespace]

    def append(
        self, session_id: str, entries: Sequence[tuple[str, bytes]], ttl_ms: int, fence: int | None
    ) -> Call[Any]:
        def do() -> Appended | PartlyStored | Fenced:
            if later := self._later(session_id, fence):
                return Fenced(later)
            kept = self._live(session_id) or Kept()
            known = [kept.ids[name] for name, _ in entries if name in kept.ids]
            if known and len(known) < len(entries):
                return PartlyStored()
            if not known:
                self._sessions[session_id] = kept
                for name, record in entries:
                    kept.last += 1
                    kept.ids[name] = kept.last
                    kept.messages[kept.last] = RawMessage(kept.last, _now_us(), record)
                    known.append(kept.last)
                self._written(kept, ttl_ms, fence)
            return Appended([kept.messages[position] for position in known])

        return _call(session_id, do)

    def history(self, session_id: str, limit: int | None, before: int | None) -> Call[Any]:
        return _call(session_id, lambda: self._newest(session_id, limit, before))

    def save_context(
        self,
        session_id: str,
        record: bytes,
        if_version: int | None,
        write_id: str,
        ttl_ms: int,
        fence: int | None,
    ) -> Call[Any]:
        def do() -> int | Stale | Fenced:
            if later := self._later(session_id, fence):
                return Fenced(later)
            kept = self._live(session_id) or Kept()
            version = kept.context.version if kept.context else 0
            if if_version is not None and if_version != version:
                return Stale(version)
            self._sessions[session_id] = kept
            kept.context = RawContext(record, max(version + 1, _now_us()))
            self._written(kept, ttl_ms, fence)
            return kept.context.version

        return _call(session_id, do)

    def load_context(self, session_id: str) -> Call[Any]:
        def do() -> RawContext | None:
            kept = self._live(session_id)
            return kept.context if kept else None

        return _call(session_id, do)

    def load_session(self, session_id: str, limit: int | None) -> Call[Any]:
        def do() -> RawSession | None:
            kept = self._live(session_id)
            if kept is None:
                return None
            return RawSession(self._newest(session_id, limit, None), kept.context)

        return _call(session_id, do)

    def delete_session(self, session_id: str, fence: int | None) -> Call[Any]:
        def do() -> bool | Fenced:
            if later := self._later(session_id, fence):
                return Fenced(later)
            return self._live(session_id) is not None and bool(self._sessions.pop(session_id))

        return _call(session_id, do)

    def set_ttl(self, session_id: str, ttl_ms: int) -> Call[Any]:
        def do() -> bool:
            kept = self._live(session_id)
            if kept:
                kept.own_ttl_ms = ttl_ms
                self._written(kept, ttl_ms, None)
            return kept is not None

        return _call(session_id, do)

    def get_ttl(self, session_id: str) -> Call[Any]:
        def do() -> int | None:
            kept = self._live(session_id)
            if kept is None:
                return None
            return FOR_EVER if kept.ends is None else round((kept.ends - time.monotonic()) * 1000)

        return _call(session_id, do)

    def acquire(self, session_id: str, owner: str, lease_ms: int) -> Call[Any]:
        def do() -> Held | Busy:
            lock = LOCKS[self._namespace, session_id]
            left = lock.ends - time.monotonic()
            if left > 0 and lock.owner != owner:
                return Busy(round(left * 1000))
            if left <= 0:
                lock.token = max(lock.token + 1, _now_us())
                lock.owner, lock.ends = owner, time.monotonic() + lease_ms / 1000
            return Held(lock.token)

        return _call(session_id, do)

    def renew(self, session_id: str, owner: str, lease_ms: int) -> Call[Any]:
        return _call(session_id, lambda: self._if_held(session_id, owner, lease_ms))

    def release(self, session_id: str, owner: str) -> Call[Any]:
        return _call(session_id, lambda: self._if_held(session_id, owner, 0))

    def sessions(self, cursor: Any) -> Call[Any]:
        return _call("*", lambda: Page([one for one in [*self._sessions] if self._live(one)], None))

    def ping(self) -> Call[Any]:
        return _call("*", lambda: None)

    def _live(self, session_id: str) -> Kept | None:
        kept = self._sessions.get(session_id)
        if kept and kept.ends is not None and kept.ends <= time.monotonic():
            del self._sessions[session_id]
            return None
        return kept

    def _newest(self, session_id: str, limit: int | None, before: int | None) -> list[RawMessage]:
        kept = self._live(session_id)
        if kept is None:
            return []
        last = kept.last if before is None else min(kept.last, before - 1)
        first = 1 if limit is None else max(1, last - limit + 1)
        missing = [RawMessage(position, 0, None) for position in range(first, last + 1)]
        return [kept.messages.get(hole.position, hole) for hole in missing]

    def _written(self, kept: Kept, ttl_ms: int, fence: int | None) -> None:
        ttl_ms = ttl_ms if kept.own_ttl_ms is None else kept.own_ttl_ms
        kept.ends = None if ttl_ms == FOR_EVER else time.monotonic() + ttl_ms / 1000
        kept.fence = max(kept.fence, fence or 0)

    def _later(self, session_id: str, fence: int | None) -> int | None:
        if fence is None:
            return None
        kept = self._live(session_id)
        latest = max(LOCKS[self._namespace, session_id].token, kept.fence if kept else 0)
        return latest if latest > fence else None

    def _if_held(self, session_id: str, owner: str, lease_ms: int) -> bool:
        lock = LOCKS[self._namespace, session_id]
        held = lock.owner == owner and lock.ends > time.monotonic()
        if held:
            lock.ends = time.monotonic() + lease_ms / 1000
        return held


def _now_us() -> int:
    return time.time_ns() // 1000


def _call(session_id: str, do: Callable[[], Any]) -> Call[Any]:
    def parse(_: Any) -> Any:
        with ONE_AT_A_TIME:
            return do()

    return Call(session_id=session_id, repeatable=True, parse=parse)
