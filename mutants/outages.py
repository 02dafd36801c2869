"""Errors that are swallowed, mistaken or repeated: what an agent sees while the network fails."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import psycopg

from mutants import mutant
from mutants._surgery import Method, command, lua, plan
from stores.errors import OutcomeUnknown, StoreError, StoreUnavailable
from stores.interface import StoredMessage
from stores.postgres import AsyncPostgresStore, PostgresStore
from stores.redis import AsyncRedisStore, RedisStore
from stores.redis.connections import LIMIT

UNREACHABLE = "test_every_call_says_that_the_server_is_out_of_reach"
LOST_APPEND = "test_an_append_whose_reply_is_lost_is_stored_once"
LOST_WRITE = "test_a_write_whose_reply_is_lost_happens_once"
SLOW = "test_a_slow_reply_is_an_error_in_time_and_never_anothers_answer"


def answering(store: Any, name: str, answer: Callable[..., Any]) -> None:
    """Answer a call instead of raising what keeps it from its server."""

    def make(call: Method) -> Method:
        def quiet(*args: Any) -> Generator[Any, Any, Any]:
            try:
                return (yield from call(*args))
            except (StoreUnavailable, OutcomeUnknown):
                return answer(*args)

        return quiet

    plan(store, name, make)


def as_if_stored(_: str, messages: Any, *__: Any) -> list[StoredMessage]:
    """Return what a store would, had it stored the messages in a new session."""
    now = datetime.now(UTC)
    return [
        StoredMessage(m.role, m.content, m.id, m.metadata, m.created_at, position=n, stored_at=now)
        for n, m in enumerate(messages, 1)
    ]


@mutant(RedisStore, "A1", "net-3", UNREACHABLE, says="answered StoredMessage")
def failed_write_is_logged(store: Any) -> None:
    """A write that fails is logged, and answered as if it had been stored."""
    answering(store, "append_messages", as_if_stored)


@mutant(AsyncRedisStore, "A2", "net-3", UNREACHABLE, says="answered None")
def failed_read_is_no_context(store: Any) -> None:
    """A read that fails is answered with None: the agent asks for the phone number again."""
    answering(store, "load_context", lambda *_: None)


@mutant(PostgresStore, "A2", "net-3", UNREACHABLE, says="answered []")
def failed_read_is_an_empty_history(store: Any) -> None:
    """A read that fails is answered with an empty history."""
    answering(store, "get_history", lambda *_: [])


@mutant(AsyncPostgresStore, "A2", "net-3", UNREACHABLE, says="answered False")
def failed_delete_is_false(store: Any) -> None:
    """A delete that fails is answered with "there was nothing to delete"."""
    answering(store, "delete_session", lambda *_: False)


@mutant(
    PostgresStore,
    "class: driver errors reach the agent",
    "net-3",
    UNREACHABLE,
    says="raised OperationalError",
)
def drivers_errors_escape(store: Any) -> None:
    """The driver's own exceptions reach the caller, who catches the store's."""
    carry = store._carry

    def escape(call: Any, deadline: float) -> Any:
        try:
            return carry(call, deadline)
        except StoreError as error:
            raise psycopg.OperationalError(str(error)) from error

    store._carry = escape


@mutant(
    RedisStore,
    "class: timeouts that do not cover connecting",
    "net-3",
    UNREACHABLE,
    says="later than the timeout",
)
def connecting_takes_its_own_time(store: Any) -> None:
    """Connecting has a timeout of its own, five times that of a call."""
    pool = store._pool(None)
    pool.connection_kwargs["socket_connect_timeout"] = 5 * store._plans.timeout
    get = pool.get_connection

    def patient() -> Any:
        LIMIT.deadline = math.inf
        return get()

    pool.get_connection = patient


@mutant(RedisStore, "A1", "net-1", LOST_APPEND, says="StoreUnavailable")
def lost_reply_is_called_not_applied(store: Any) -> None:
    """An append whose reply is lost is reported as certainly not applied."""

    def make(append: Method) -> Method:
        def sure(*args: Any) -> Generator[Any, Any, Any]:
            try:
                return (yield from append(*args))
            except OutcomeUnknown as error:
                raise StoreUnavailable(str(error)) from error

        return sure

    plan(store, "append_messages", make)


def _retrying_anew(store: Any) -> None:
    def make(append: Method) -> Method:
        def again(session_id: str, messages: Any, fence: Any) -> Generator[Any, Any, Any]:
            try:
                return (yield from append(session_id, messages, fence))
            except OutcomeUnknown:
                anew = [replace(one, id=uuid4().hex) for one in messages]
                return (yield from append(session_id, anew, fence))

        return again

    def unrepeatable(build: Method) -> Method:
        return lambda *args: replace(build(*args), repeatable=False)

    command(store, "append", unrepeatable)
    plan(store, "append_messages", make)


@mutant(
    AsyncRedisStore,
    "B4",
    "net-1",
    LOST_APPEND,
    says="1 by url, reset: Outcome(result=[StoredMessage",
)
def retry_doubles_the_message(store: Any) -> None:
    """A retry after a timeout sends the message under a new id: it is stored twice."""
    _retrying_anew(store)


@mutant(
    PostgresStore, "B4", "net-1", LOST_APPEND, says="1 by url, reset: Outcome(result=[StoredMessage"
)
def retry_doubles_the_message_in_postgres(store: Any) -> None:
    """The same, where the commit went through and only its confirmation was lost."""
    _retrying_anew(store)


@mutant(RedisStore, "B4", "net-2", LOST_WRITE, says="LockNotAcquired")
def lock_is_not_its_owners(store: Any) -> None:
    """A retry of SET NX meets the lock that its first try has taken: nobody holds it."""
    lua(store, "acquire", ("if held[1] == ARGV[1] then", "if false then"))


@mutant(PostgresStore, "B4", "net-2", LOST_WRITE, says="delete_session by")
def second_delete_finds_nothing(store: Any) -> None:
    """A delete is tried again after a lost reply, finds nothing, and answers False."""
    command(
        store, "delete_session", lambda build: lambda *args: replace(build(*args), repeatable=True)
    )


@mutant(AsyncRedisStore, "B4", "net-2", LOST_WRITE, says="LeaseLost")
def second_release_loses_the_lease(store: Any) -> None:
    """A release is tried again after a lost reply, and reports a lease lost that was kept."""
    command(store, "release", lambda build: lambda *args: replace(build(*args), repeatable=True))


@mutant(
    RedisStore,
    "class: replies left on the connection",
    "net-4",
    SLOW,
    says="and the next call gets another's reply|, and after it",
)
def late_reply_answers_the_next_call(store: Any) -> None:
    """After a timeout the connection is used again: the late reply answers another's call."""

    original = store._talk

    def late(connection: Any, hop: Any) -> Any:
        if hop.call.script is not None:
            return original(connection, hop)
        connection.disconnect = lambda *_, **__: None
        connection.deadline = hop.deadline
        connection.send_command(*hop.call.by_digest())
        return connection.read_response(disable_decoding=True, disconnect_on_error=False)

    store._talk = late


@mutant(RedisStore, "D3", "net-4", SLOW, says="append, late by url: Outcome(result=[StoredMessage")
def reply_is_waited_for_beyond_the_timeout(store: Any) -> None:
    """The timeout bounds the sending, and not the wait for the reply."""
    talk = store._talk
    store._talk = lambda connection, hop: talk(connection, replace(hop, deadline=hop.deadline + 2))


@mutant(
    AsyncRedisStore,
    "class: the reply of a cancelled call",
    "con-7",
    "test_cancelled_call_leaves_no_reply_behind",
    says="is taken by other content",
)
def cancelled_call_leaves_its_reply(store: Any) -> None:
    """A cancelled task gives its connection back with the reply still under way."""

    async def talk(connection: Any, call: Any) -> Any:
        await connection.send_command(*call.by_digest())
        return await connection.read_response(
            disable_decoding=True, timeout=math.inf, disconnect_on_error=False
        )

    async def hop(step: Any) -> Any:
        pool = await store._pool(step.node)
        connection = await pool.get_connection()
        try:
            return step.call.parse(await talk(connection, step.call))
        finally:
            await pool.release(connection)

    store._hop = hop
