"""Locks: two holders, wrong owners, and tokens that do not fence."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

from mutants import mutant
from mutants._surgery import Method, command, lua, plan, redis_call, sql
from stores.calls import Busy, Held, Pause
from stores.errors import LockNotAcquired
from stores.interface import Lease
from stores.postgres import AsyncPostgresStore, PostgresStore
from stores.postgres.statements import PostgresCall, Statement
from stores.redis import AsyncRedisStore, RedisStore
from stores.sync_store import _Lease

EXPIRED = "test_expired_lease_is_lost"
LATE_WRITE = "test_write_with_an_old_token_changes_nothing"
IN_TIME = "test_waiting_for_a_lock_ends_in_time"


@mutant(
    AsyncRedisStore,
    "B6",
    "lock-1",
    "test_one_holder_among_threads",
    says="overlapping: holder",
)
def lock_is_looked_at_and_then_taken(store: Any) -> None:
    """Whether the lock is free is asked in one command, and it is taken in the next."""
    lua(store, "acquire", ("if held[1] and left > 0 then", "if false then"))

    def make(acquire: Method) -> Method:
        def look(session_id: str, owner: str, lease: Any, wait: Any) -> Generator[Any, Any, Any]:
            key = store._plans.commands.lock_key(session_id)
            for _ in range(2000):
                held = yield from store._plans._send(redis_call(session_id, ["HGET", key, "o"]))
                if held is None:
                    return (yield from acquire(session_id, owner, lease, wait))
                yield Pause(0.001)
            raise LockNotAcquired("another holds the lock")

        return look

    plan(store, "acquire", make)


_LOCKS: dict[str, threading.Lock] = {}


@mutant(
    RedisStore,
    "B6",
    "lock-1",
    "test_one_holder_among_processes",
    says="overlapping: process",
)
def lock_excludes_threads_only(store: Any) -> None:
    """A dict of `threading.Lock`: no other worker process ever waits for it."""

    @contextmanager
    def lock(session_id: str, *, lease: Any, wait: float) -> Iterator[Lease]:
        mutex = _LOCKS.setdefault(session_id, threading.Lock())
        if not mutex.acquire(timeout=wait):
            raise LockNotAcquired(session_id)
        try:
            token = store._run(store._plans._send(_count(store, session_id)))
            yield _Lease(lambda _: None, store._plans, session_id, "", token, lease)
        finally:
            mutex.release()

    store.lock = lock


def _count(store: Any, session_id: str) -> Any:
    return redis_call(session_id, ["HINCRBY", store._plans.commands.lock_key(session_id), "k", 1])


@mutant(PostgresStore, "class: waits that never end", "lock-1", IN_TIME, says="< (0 + 0.5)")
def waiting_for_a_lock_takes_a_second_more(store: Any) -> None:
    """`wait` is looked at after a pause of a second, as a polling loop does."""

    def make(acquire: Method) -> Method:
        def late(session_id: str, owner: str, lease: Any, wait: Any) -> Generator[Any, Any, Any]:
            try:
                return (yield from acquire(session_id, owner, lease, 0))
            except LockNotAcquired:
                yield Pause(1.0)
                return (yield from acquire(session_id, owner, lease, wait))

        return late

    plan(store, "acquire", make)


@mutant(
    RedisStore,
    "class: no finally",
    "lock-1",
    "test_failing_under_a_lock_frees_it",
    says="LockNotAcquired",
)
def error_keeps_the_lock(store: Any) -> None:
    """The lock is released after the block, and not where the block raises."""

    @contextmanager
    def lock(session_id: str, *, lease: Any, wait: Any) -> Iterator[Lease]:
        owner = "somebody"
        token = store._run(store._plans.acquire(session_id, owner, lease, wait))
        held = _Lease(store._run, store._plans, session_id, owner, token, lease)
        owner += str(token)
        yield held
        held.release()

    store.lock = lock
    lua(store, "acquire", ("if held[1] == ARGV[1] then", "if false then"))


@mutant(
    RedisStore,
    "class: DEL without a look at the owner",
    "lock-2",
    EXPIRED,
    says="and was left, another holds it, went through",
)
def release_frees_anothers_lock(store: Any) -> None:
    """A release deletes the lock, whoever holds it by now: wrong only after an expiry."""
    lua(store, "release", ("if not holds(KEYS[1], ARGV[1]) then return 0 end", ""))


@mutant(
    PostgresStore,
    "class: a lease is renewed after its end",
    "lock-2",
    EXPIRED,
    says="and was renewed, nobody does, went through",
)
def lapsed_lease_is_renewed(store: Any) -> None:
    """A renewal looks at the owner and not at the time: between, another may have worked."""
    sql(store, "renew_v1", ("AND lease_until > clock_timestamp()", ""))


@mutant(
    RedisStore,
    "class: tokens die with the lock",
    "lock-3",
    "test_tokens_grow",
    says="each token must be greater than all before",
)
def token_is_forgotten_with_the_lock(store: Any) -> None:
    """A release deletes the lock with its counter: the next holder gets token 1 again."""
    lua(
        store, "acquire", ("math.max(number(held[2]) + 1, written + 1, now)", "number(held[2]) + 1")
    )
    lua(store, "release", ("redis.call('HDEL', KEYS[1], 'o', 'e')", "redis.call('DEL', KEYS[1])"))


@mutant(AsyncRedisStore, "B6", "lock-3", LATE_WRITE, says="save_context with an old token to")
def saves_are_not_fenced(store: Any) -> None:
    """Saving a context takes the fencing token, and does not look at it."""
    lua(store, "save", ("if later then", "if false then"))


@mutant(PostgresStore, "B6", "lock-3", LATE_WRITE, says="append_message with an old token to")
def token_fences_only_after_the_next_write(store: Any) -> None:
    """An old token is refused only once the next holder has written, not once it has the lock."""
    sql(
        store,
        "append_v1",
        ("given := {schema}.given_token_v1(of_namespace, of_session, with_fence);", "given := 0;"),
    )


@mutant(
    PostgresStore,
    "class: locks of a connection",
    "lock-4",
    "test_holder_whose_connection_dies_learns_it",
    says="DID NOT RAISE LockNotAcquired",
)
def lock_ends_with_its_connection(store: Any) -> None:
    """`pg_try_advisory_lock` holds as long as its connection: who lost that is not told."""

    def call(session_id: str, text: bytes, values: Any, parse: Any) -> PostgresCall[Any]:
        statement = Statement(text, values)
        return PostgresCall(
            session_id=session_id, repeatable=True, parse=parse, statement=statement
        )

    def acquire(session_id: str, owner: str, lease_ms: int) -> PostgresCall[Any]:
        key = zlib.crc32(f"{store._plans.commands._namespace} {session_id}".encode())
        text = b"SELECT pg_try_advisory_lock($1::bigint)"
        return call(session_id, text, (key,), lambda rows: Held(1) if rows[0][0] else Busy(1))

    def yes(session_id: str, *_: Any) -> PostgresCall[Any]:
        return call(session_id, b"SELECT true", (), lambda _: True)

    for name, build in {"acquire": acquire, "renew": yes, "release": yes}.items():
        command(store, name, lambda _, build=build: build)  # type: ignore[misc] # bound early


@mutant(
    AsyncPostgresStore,
    "class: hashed lock names",
    "lock-5",
    "test_no_two_ids_share_a_lock",
    says="LockNotAcquired",
)
def locks_are_named_by_a_hash(store: Any) -> None:
    """A lock is named by a 32-bit hash of the id: two sessions may share one."""
    for name in ("acquire", "renew", "release"):
        command(
            store,
            name,
            lambda build: lambda one, *rest: build(str(zlib.crc32(one.encode())), *rest),
        )
