"""The Redis side of every operation: keys, scripts, arguments and reply parsing. No I/O.

A session is one hash under one key, so that Redis can only evict, expire, move or
delete it whole. prelude.lua describes its fields.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib.resources import files
from typing import Any, TypeVar

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
from stores.checks import MAX_NAMESPACE_BYTES, check_text
from stores.errors import CorruptRecord

MAX_RECORD_BYTES = 1024 * 1024
"""Longest encoded message or context: far below Redis's own limit of 512 MiB a value."""
SCAN_COUNT = 500
"""Keys that one SCAN step looks at: about a tenth of a millisecond of the server's time."""

Reply_co = TypeVar("Reply_co", covariant=True)
Command = Sequence[bytes | str | int]
"""A command's name and its arguments."""


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script and the digest under which the server caches it."""

    source: bytes
    sha: str


@cache
def script(name: str) -> Script:
    """Return a script with its prelude, read from this package."""
    folder = files("stores.redis")
    source = b"\n".join(folder.joinpath(f"{part}.lua").read_bytes() for part in ("prelude", name))
    return Script(source, hashlib.sha1(source, usedforsecurity=False).hexdigest())


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisCall(Call[Reply_co]):
    """A call as Redis takes it: a script with its keys and arguments, or one plain command.

    ``reads`` says that it changes nothing in any case, ``lists`` that it is a step of a listing.
    All ``keys`` are in one cluster slot. ``walk`` is what the route knows of a listing under way.
    """

    reads: bool = False
    lists: bool = False
    script: Script | None = None
    keys: Sequence[bytes] = ()
    arguments: Sequence[bytes | str | int] = ()
    walk: Any = None

    def by_digest(self) -> Command:
        """The command that runs the call, its script by digest where it has one."""
        if self.script is None:
            return self.arguments
        return ("EVALSHA", self.script.sha, len(self.keys), *self.keys, *self.arguments)

    def by_source(self) -> Command:
        """The command for a server that has not cached the script, and will after it."""
        assert self.script is not None
        return ("EVAL", self.script.source, len(self.keys), *self.keys, *self.arguments)

    def from_start(self) -> RedisCall[Reply_co]:
        """Return the step of a listing that begins it at a server."""
        name, _, *rest = self.arguments
        return replace(self, arguments=(name, 0, *rest), walk=None)


def packed(command: Command) -> bytes:
    """Return a command as it is sent (Redis docs, "Redis serialization protocol")."""
    parts = [b"*%d\r\n" % len(command)]
    for word in command:
        part = word if type(word) is bytes else str(word).encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(part), part))
    return b"".join(parts)


class RedisCommands:
    """`stores.calls.Commands` for Redis 6 and 7."""

    def __init__(self, namespace: str) -> None:
        check_text("namespace", namespace, MAX_NAMESPACE_BYTES)
        name = namespace.encode()
        # The braces put a session and its lock into one cluster slot whatever the id contains:
        # a slot is hashed from the text up to the first closing brace, which both share.
        # The length keeps ("a", "b:c") and ("a:b", "c") apart.
        self._prefix = b"{%d:%s:" % (len(name), name)

    def session_key(self, session_id: str) -> bytes:
        """Return the key of the session's hash."""
        return self._prefix + session_id.encode() + b"}:session"

    def lock_key(self, session_id: str) -> bytes:
        """Return the key of the session's lock."""
        return self._prefix + session_id.encode() + b"}:lock"

    def append(
        self, session_id: str, entries: Sequence[tuple[str, bytes]], ttl_ms: int, fence: int | None
    ) -> Call[Appended | PartlyStored | Fenced]:
        flat = [part for message_id, record in entries for part in (message_id.encode(), record)]
        arguments = [ttl_ms, _optional(fence), *flat]
        return self._script("append", session_id, _appended, arguments, fenced=fence is not None)

    def history(
        self, session_id: str, limit: int | None, before: int | None
    ) -> Call[list[RawMessage]]:
        return self._script(
            "history", session_id, _messages, [_optional(limit), _optional(before)], reads=True
        )

    def save_context(
        self,
        session_id: str,
        record: bytes,
        if_version: int | None,
        write_id: str,
        ttl_ms: int,
        fence: int | None,
    ) -> Call[int | Stale | Fenced]:
        return self._script(
            "save",
            session_id,
            _saved,
            [ttl_ms, _optional(fence), _optional(if_version), write_id, record],
            # Unguarded, a late second copy could overwrite what others saved in between.
            repeatable=if_version is not None,
            fenced=fence is not None,
        )

    def load_context(self, session_id: str) -> Call[RawContext | None]:
        key = self.session_key(session_id)
        return self._command(session_id, _context, ["HMGET", key, "c", "v"], [key])

    def load_session(self, session_id: str, limit: int | None) -> Call[RawSession | None]:
        return self._script("load", session_id, _session, [_optional(limit)], reads=True)

    def delete_session(self, session_id: str, fence: int | None) -> Call[bool | Fenced]:
        fenced = fence is not None
        return self._script(
            "delete", session_id, _deleted, [_optional(fence)], repeatable=False, fenced=fenced
        )

    def set_ttl(self, session_id: str, ttl_ms: int) -> Call[bool]:
        return self._script("set_ttl", session_id, _yes, [ttl_ms])

    def get_ttl(self, session_id: str) -> Call[int | None]:
        key = self.session_key(session_id)
        return self._command(session_id, _remaining, ["PTTL", key], [key])

    def acquire(self, session_id: str, owner: str, lease_ms: int) -> Call[Held | Busy]:
        return self._script("acquire", session_id, _acquired, [owner, lease_ms], fenced=True)

    def renew(self, session_id: str, owner: str, lease_ms: int) -> Call[bool]:
        return self._script("renew", session_id, _yes, [owner, lease_ms], lock_only=True)

    def release(self, session_id: str, owner: str) -> Call[bool]:
        # Not repeatable: a second try cannot tell "freed by the first" from "lost before".
        return self._script("release", session_id, _yes, [owner], lock_only=True, repeatable=False)

    def sessions(self, cursor: Any) -> Call[Page]:
        pattern = re.sub(rb"([*?\[\]\\])", rb"\\\1", self._prefix) + b"*}:session"
        walk, at = cursor or (None, 0)
        return RedisCall(
            session_id="*",
            repeatable=True,
            reads=True,
            lists=True,
            parse=self._page,
            arguments=["SCAN", at, "MATCH", pattern, "COUNT", SCAN_COUNT],
            walk=walk,
        )

    def ping(self) -> Call[None]:
        return self._command("*", lambda _, __: None, ["PING"])

    def _page(self, reply: Any) -> Page:
        cursor, keys = reply
        names = [
            bytes(key)[len(self._prefix) : -len(b"}:session")].decode(errors="replace")
            for key in keys
        ]
        return Page(names, None if int(cursor) == 0 else (None, int(cursor)))

    def _script(
        self,
        name: str,
        session_id: str,
        parse: Callable[[str, Any], Reply_co],
        arguments: Sequence[bytes | str | int],
        *,
        repeatable: bool = True,
        reads: bool = False,
        fenced: bool = False,
        lock_only: bool = False,
    ) -> RedisCall[Reply_co]:
        # No key that is not needed: while a slot is being moved, Redis refuses calls with several
        # keys unless all are at one place (cluster specification, TRYAGAIN).
        session, lock = self.session_key(session_id), self.lock_key(session_id)
        keys = [lock] if lock_only else [session, lock] if fenced else [session]
        return RedisCall(
            session_id=session_id,
            repeatable=repeatable,
            reads=reads,
            parse=partial(parse, session_id),
            script=script(name),
            keys=keys,
            arguments=arguments,
        )

    def _command(
        self,
        session_id: str,
        parse: Callable[[str, Any], Reply_co],
        arguments: Sequence[bytes | str | int],
        keys: Sequence[bytes] = (),
    ) -> RedisCall[Reply_co]:
        return RedisCall(
            session_id=session_id,
            repeatable=True,
            reads=True,
            parse=partial(parse, session_id),
            keys=keys,
            arguments=arguments,
        )


def _optional(number: int | None) -> int | str:
    return "" if number is None else number


def _yes(_: str, reply: Any) -> bool:
    return bool(int(reply))


def _appended(session_id: str, reply: Any) -> Appended | PartlyStored | Fenced:
    verdict, *rest = reply
    if verdict == b"fenced":
        return Fenced(int(rest[0]))
    if verdict == b"partly":
        return PartlyStored()
    pairs = zip(rest[::2], rest[1::2], strict=True)
    return Appended([_message(session_id, int(position), value) for position, value in pairs])


def _messages(session_id: str, reply: Any) -> list[RawMessage]:
    first, *values = reply
    return [
        _message(session_id, position, value) for position, value in enumerate(values, int(first))
    ]


def _message(session_id: str, position: int, value: bytes | None) -> RawMessage:
    if value is None:
        return RawMessage(position, 0, None)
    stored_at, colon, record = value.partition(b":")
    if not colon or not stored_at.isdigit():
        raise CorruptRecord(
            "the value is not a stored message",
            session_id=session_id,
            position=position,
            raw=value,
        )
    return RawMessage(position, int(stored_at), record)


def _saved(_: str, reply: Any) -> int | Stale | Fenced:
    verdict, number = reply
    if verdict == b"fenced":
        return Fenced(int(number))
    return Stale(int(number)) if verdict == b"stale" else int(number)


def _context(session_id: str, reply: Any) -> RawContext | None:
    record, version = reply
    if record is None and version is None:
        return None
    if record is None or version is None or not version.isdigit():
        raise CorruptRecord(
            f"the context and its version ({version!r}) do not belong together",
            session_id=session_id,
            raw=record,
        )
    return RawContext(record, int(version))


def _session(session_id: str, reply: Any) -> RawSession | None:
    if not reply:
        return None
    record, version, *messages = reply
    return RawSession(_messages(session_id, messages), _context(session_id, (record, version)))


def _deleted(_: str, reply: Any) -> bool | Fenced:
    verdict, number = reply
    return Fenced(int(number)) if verdict == b"fenced" else bool(int(number))


def _acquired(_: str, reply: Any) -> Held | Busy:
    verdict, number = reply
    return Held(int(number)) if verdict == b"held" else Busy(int(number))


def _remaining(_: str, reply: Any) -> int | None:
    absent, no_expiry = -2, -1
    milliseconds = int(reply)
    if milliseconds == absent:
        return None
    return FOR_EVER if milliseconds == no_expiry else milliseconds
