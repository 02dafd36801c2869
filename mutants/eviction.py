"""Servers that forget sessions when their memory is full: what a store keeps elsewhere."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any

from mutants import mutant
from mutants._surgery import Method, command, lua, plan, redis_call
from stores.calls import Page
from stores.interface import StoredMessage
from stores.redis import AsyncRedisStore, RedisStore


@mutant(
    RedisStore,
    "A4",
    "evi-1",
    "test_a_session_is_whole_or_gone",
    says="lasting|expiring",
    eviction="allkeys_lru",
)
def context_has_a_key_of_its_own(store: Any) -> None:
    """History and context lie under two keys: the server forgets one of them."""
    apart = "redis.call('SET', session .. ':c', ARGV[5] .. ' ' .. following)"
    lua(store, "save", ("set_fields(session, fields)", f"set_fields(session, fields) {apart}"))

    def make(load: Method) -> Method:
        def from_its_key(session_id: str) -> Any:
            whole = load(session_id)
            key = store._plans.commands.session_key(session_id) + b":c"

            def parse(value: bytes | None) -> Any:
                record, _, version = (value or b" ").rpartition(b" ")
                return whole.parse([record or None, version or None])

            return redis_call(session_id, ["GET", key], parse)

        return from_its_key

    command(store, "load_context", make)


@mutant(
    AsyncRedisStore,
    "B5",
    "evi-1",
    "test_sessions_that_are_written_to_are_whole_or_begin_anew",
    says=": [",
    eviction="allkeys_lru",
)
def positions_are_remembered_by_the_client(store: Any) -> None:
    """The client counts positions itself, and goes on where the server has begun anew."""
    last: dict[str, int] = {}

    def make(append: Method) -> Method:
        def counted(session_id: str, *args: Any) -> Generator[Any, Any, Any]:
            stored = yield from append(session_id, *args)
            first = last.get(session_id, 0) + 1
            last[session_id] = first + len(stored) - 1
            return [replace(one, position=n) for n, one in enumerate(stored, first)]

        return counted

    plan(store, "append_messages", make)


@mutant(
    RedisStore,
    "B5",
    "evi-2",
    "test_sessions_without_a_ttl_are_never_forgotten",
    says="Extra items in the right set",
    eviction="volatile_lru",
)
def every_session_gets_some_ttl(store: Any) -> None:
    """A store without a TTL gives its sessions a year: enough for the server to forget them."""
    store._plans.ttl_ms = store._plans.ttl_ms or 365 * 86_400_000


@mutant(
    RedisStore,
    "B5",
    "evi-3",
    "test_a_forgotten_session_is_absent_and_begins_anew",
    says="not in <generator",
    eviction="allkeys_lru",
)
def forgotten_sessions_are_listed(store: Any) -> None:
    """Sessions are listed from a list of their ids, in which forgotten ones stay."""
    known: dict[str, None] = {}

    def make(append: Method) -> Method:
        def noted(session_id: str, *args: Any) -> Any:
            known[session_id] = None
            return append(session_id, *args)

        return noted

    plan(store, "append_messages", make)
    command(
        store,
        "sessions",
        lambda _: lambda _: redis_call("*", ["PING"], lambda _: Page([*known], None)),
    )


@mutant(
    AsyncRedisStore,
    "B6",
    "evi-3",
    "test_a_forgotten_lock_is_lost",
    says="DID NOT RAISE",
    eviction="allkeys_lru",
)
def forgotten_lock_is_renewed(store: Any) -> None:
    """A renewal sets the lease's end, and does not look whether the lock is still there."""
    lua(store, "renew", ("if not holds(KEYS[1], ARGV[1]) then return 0 end", ""))


@mutant(
    RedisStore,
    "A4",
    "evi-4",
    "test_sessions_in_use_are_forgotten_last",
    says="forgotten although in use",
    eviction="allkeys_lru",
)
def reads_come_from_a_copy(store: Any) -> None:
    """Reads are answered by a copy: the server takes the session in use for one out of use."""
    copies: dict[str, list[StoredMessage]] = {}

    def keeping(append: Method) -> Method:
        def kept(session_id: str, *args: Any) -> Generator[Any, Any, Any]:
            stored = yield from append(session_id, *args)
            copies.setdefault(session_id, []).extend(stored)
            return stored

        return kept

    def copied(session_id: str, *_: Any) -> Generator[Any, Any, Any]:
        yield from ()
        return copies.get(session_id, [])

    plan(store, "append_messages", keeping)
    plan(store, "get_history", lambda _: copied)
