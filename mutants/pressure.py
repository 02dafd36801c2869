"""Servers that are full, refuse or hang: what a store makes of that."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any

from mutants import mutant
from mutants._surgery import Method, lua, plan
from mutants.outages import as_if_stored
from stores.errors import LockNotAcquired, OutcomeUnknown, StoreFull, StoreUnavailable
from stores.postgres import AsyncPostgresStore, PostgresStore
from stores.redis import AsyncRedisStore, RedisStore

NO_CALL = "test_with_a_full_disk_no_call_answers_wrongly"


def answering(store: Any, name: str, kinds: Any, answer: Callable[..., Any]) -> None:
    """Answer a call instead of raising errors of these kinds."""

    def make(call: Method) -> Method:
        def quiet(*args: Any) -> Generator[Any, Any, Any]:
            try:
                return (yield from call(*args))
            except kinds:
                return answer(*args)

        return quiet

    plan(store, name, make)


@mutant(
    RedisStore,
    "A1",
    "srv-1",
    "test_a_full_memory_refuses_and_loses_nothing",
    says="no write was StoreFull",
    eviction="noeviction",
)
def full_memory_is_logged(store: Any) -> None:
    """OOM is logged, and the message answered as if it had been stored."""
    answering(store, "append_messages", StoreFull, as_if_stored)


@mutant(
    AsyncRedisStore,
    "class: reads that write",
    "srv-1",
    "test_with_a_full_memory_reads_and_deletes_go_on",
    says="StoreFull",
    eviction="noeviction",
)
def reading_writes_an_access_time(store: Any) -> None:
    """A read notes when it was made: with a full memory nothing can be read any more."""
    noted = "if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], 'a', '1') end"
    lua(store, "history", ("return add_newest", f"{noted} return add_newest"))


@mutant(
    RedisStore,
    "class: locks that nobody holds",
    "srv-3",
    "test_with_a_full_memory_no_lock_is_half_held",
    says="isinstance(LeaseLost(",
    eviction="noeviction",
)
def refused_lock_is_given_out(store: Any) -> None:
    """A lock that the full server refused is given out, with token 1."""
    answering(store, "acquire", StoreFull, lambda *_: 1)
    answering(store, "release", StoreFull, lambda *_: None)


@mutant(PostgresStore, "A1", "srv-1", NO_CALL, says="answered StoredMessage", alone=True)
def full_disk_is_logged(store: Any) -> None:
    """A write for which the disk has no room is logged, and answered as stored."""
    answering(store, "append_messages", (StoreFull, StoreUnavailable, OutcomeUnknown), as_if_stored)


@mutant(
    AsyncRedisStore,
    "A2",
    "srv-2",
    "test_every_call_says_that_the_server_refuses",
    says="answered None, not Context",
    alone=True,
)
def refusal_looks_like_no_context(store: Any) -> None:
    """LOADING, BUSY and the like are answered with "there is no context"."""
    answering(store, "load_context", StoreUnavailable, lambda *_: None)


@mutant(
    PostgresStore,
    "A2",
    "srv-2",
    "test_every_call_says_that_the_server_refuses",
    says="answered [], not [StoredMessage",
    alone=True,
)
def starting_up_looks_like_an_empty_history(store: Any) -> None:
    """While the server starts up, shuts down or is read-only, a history is empty."""
    answering(store, "get_history", StoreUnavailable, lambda *_: [])


@mutant(
    AsyncPostgresStore,
    "class: broken for good",
    "srv-2",
    "test_the_call_after_the_state_works",
    says="a job did not end|the circuit is open",
    alone=True,
)
def refusal_is_remembered(store: Any) -> None:
    """A circuit breaker opens at the first refusal, and closes a minute later."""
    carry, opened = store._carry, list[float]()

    async def breaker(call: Any, deadline: float) -> Any:
        if opened and time.monotonic() - opened[-1] < 60:
            raise StoreUnavailable("the circuit is open")
        try:
            return await carry(call, deadline)
        except (StoreUnavailable, OutcomeUnknown):
            opened.append(time.monotonic())
            raise

    store._carry = breaker


@mutant(
    RedisStore,
    "class: certainly not applied, and then it was",
    "srv-2",
    "test_what_a_hanging_server_did_not_get_never_happens",
    says="the reply was lost",
)
def unanswered_write_is_called_not_applied(store: Any) -> None:
    """What a hanging server has got and not answered is called not applied: it happens later."""

    def make(save: Method) -> Method:
        def sure(*args: Any) -> Generator[Any, Any, Any]:
            try:
                return (yield from save(*args))
            except OutcomeUnknown as error:
                raise StoreUnavailable(str(error)) from error

        return sure

    for name in ("append_messages", "save_context", "delete_session"):
        plan(store, name, make)


@mutant(
    RedisStore,
    "C3",
    "dur-4",
    "test_a_log_without_its_end_gives_a_prefix",
    says="At index 49 diff",
    alone=True,
    persistence="aof_always",
)
def some_messages_are_never_logged(store: Any) -> None:
    """One message in fifty is not written: the log that is left has a hole."""
    hole = "(position % 50 == 0 and 'x:' or 'm:') .. position\n  fields"
    lua(store, "append", ("'m:' .. position\n  fields", hole))


@mutant(
    AsyncRedisStore,
    "class: frees that need memory",
    "srv-3",
    "test_with_a_full_memory_a_lock_is_let_go",
    says="StoreFull",
    eviction="noeviction",
)
def release_needs_memory(store: Any) -> None:
    """A release notes when it happened: with a full memory no lock is let go."""
    noted = "redis.call('HSET', KEYS[1], 'released', '1') redis.call('HDEL', KEYS[1], 'o', 'e')"
    lua(store, "release", ("redis.call('HDEL', KEYS[1], 'o', 'e')", noted))


@mutant(
    AsyncPostgresStore,
    "A1",
    "srv-1",
    "test_a_full_disk_loses_nothing",
    says="= Loss(acknowledged=",
    alone=True,
)
def writes_to_a_full_disk_are_acknowledged(store: Any) -> None:
    """What the disk had no room for is acknowledged, and lost."""
    full_disk_is_logged.apply(store)


@mutant(
    AsyncRedisStore,
    "class: idempotence in the client",
    "dur-4",
    "test_after_a_log_without_its_end_the_store_goes_on",
    says="= all(<generator",
    alone=True,
    persistence="aof_always",
)
def repeats_are_stored_again(store: Any) -> None:
    """Which ids are stored is not looked up: after a crash, what is sent again is there twice."""
    lua(store, "append", ("if position then", "if false then"))


def _held_here_first(store: Any) -> None:
    """Note a lock in the client first, and take it from the server then."""
    held: set[str] = set()

    def acquiring(acquire: Method) -> Method:
        def two_steps(session_id: str, *args: Any) -> Generator[Any, Any, int]:
            if session_id in held:
                raise LockNotAcquired("this client holds the lock")
            held.add(session_id)
            try:
                token: int = yield from acquire(session_id, *args)
            except LockNotAcquired:
                held.discard(session_id)
                raise
            return token

        return two_steps

    def releasing(release: Method) -> Method:
        def both(session_id: str, *args: Any) -> Any:
            held.discard(session_id)
            return release(session_id, *args)

        return both

    plan(store, "acquire", acquiring)
    plan(store, "release", releasing)


@mutant(
    RedisStore,
    "class: locks that are half taken",
    "srv-3",
    "test_a_lock_is_refused_and_not_half_held",
    says="somebody holds it",
    alone=True,
)
def refused_lock_is_held_by_the_client(store: Any) -> None:
    """A lock is noted in the client before the server is asked, and stays so when it refuses."""
    _held_here_first(store)


@mutant(
    PostgresStore,
    "class: locks that are half taken",
    "srv-3",
    "test_with_a_full_disk_no_lock_is_half_held",
    says="somebody holds it",
    alone=True,
)
def lock_without_room_is_held_by_the_client(store: Any) -> None:
    """The same, where the disk had no room for the lock."""
    _held_here_first(store)
