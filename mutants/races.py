"""Many writers at once: lost, torn and refused writes that one writer never sees."""

from __future__ import annotations

import os
import threading
from collections.abc import Generator
from typing import Any

import psycopg

from mutants import mutant
from mutants._surgery import Method, lua, plan, redis_call, sql
from stores import codec
from stores.errors import Conflict
from stores.interface import StoredMessage
from stores.plans import EPOCH
from stores.postgres import AsyncPostgresStore, PostgresStore
from stores.postgres.aio import _take
from stores.postgres.creation import _script
from stores.postgres.exchange import RACES
from stores.postgres.statements import PostgresCall, Statement
from stores.redis import AsyncRedisStore, RedisStore

IN_THREADS = "test_concurrent_appends_and_reads_have_one_order"
IN_PROCESSES = "test_processes_that_append_at_once_have_one_order"


def read_then_write(store: Any) -> None:
    """Append with two commands: read the last position, then write behind it."""

    def append(session_id: str, messages: Any, fence: Any) -> Generator[Any, Any, Any]:
        commands, send = store._plans.commands, store._plans._send
        key = commands.session_key(session_id)
        wanted = [message.id for message in messages]
        there = yield from store._plans.get_history(session_id, None, None)
        known = [one for one in there if one.id in wanted]
        if known:
            return known
        last = len(there)
        fields: list[Any] = ["n", last + len(messages)]
        for position, message in enumerate(messages, last + 1):
            record = b"1:" + codec.encode_message(message, 10**6)
            fields += [f"m:{position}", record, f"i:{message.id}", position]
        yield from send(redis_call(session_id, ["HSET", key, *fields]))
        return [
            StoredMessage(
                m.role, m.content, m.id, m.metadata, m.created_at, position=n, stored_at=EPOCH
            )
            for n, m in enumerate(messages, last + 1)
        ]

    plan(store, "append_messages", lambda _: append)


@mutant(
    AsyncRedisStore,
    "C2",
    "con-1",
    IN_THREADS,
    says="was acknowledged and is not in the final history",
)
def append_reads_and_then_writes(store: Any) -> None:
    """An append reads where the history ends, and writes there: of two at once, one is lost."""
    read_then_write(store)


_IN_THIS_PROCESS = threading.RLock()


@mutant(
    RedisStore, "B6", "con-2", IN_PROCESSES, says="was acknowledged and is not in the final history"
)
def append_is_guarded_by_a_lock_of_the_process(store: Any) -> None:
    """A lock of the process guards appends: threads are safe, a second worker is not."""
    read_then_write(store)
    run = store._run

    def guarded(steps: Any) -> Any:
        with _IN_THIS_PROCESS:
            return run(steps)

    store._run = guarded


@mutant(
    PostgresStore, "class: every nth write is lost", "con-1", IN_THREADS, says="acknowledged at"
)
def every_twentieth_append_is_lost(store: Any) -> None:
    """One append in twenty is acknowledged and not stored."""
    count = [0]

    def make(append: Method) -> Method:
        def lossy(session_id: str, messages: Any, fence: Any) -> Generator[Any, Any, Any]:
            stored = yield from append(session_id, messages, fence)
            count[0] += 1
            if count[0] % 20 == 0:
                yield from store._plans._send(_forget(store, session_id, stored[-1].position))
            return stored

        return lossy

    plan(store, "append_messages", make)


def _forget(store: Any, session_id: str, position: int) -> PostgresCall[None]:
    text = (
        b"DELETE FROM agent_memory.messages USING agent_memory.sessions AS session"
        b" WHERE messages.session_key = session.session_key AND session.session_id = $1::bytea"
        b" AND session.namespace = $2::bytea AND position = $3::bigint RETURNING 1"
    )
    values = (session_id.encode(), store._plans.commands._namespace, position)
    return PostgresCall(
        session_id=session_id,
        repeatable=True,
        parse=lambda _: None,
        statement=Statement(text, values),
    )


@mutant(
    PostgresStore,
    "class: CREATE IF NOT EXISTS is no lock",
    "con-3",
    "test_first_use_from_many_processes_at_once",
    says="some jobs failed",
)
def schema_is_created_without_a_lock(store: Any) -> None:
    """Each process creates the schema where it finds none: of several at once, all but one fail."""
    talk = store._talk
    make = (Statement(_script(store._schema, unlogged=store._unlogged)),)
    asked = (Statement(b"SELECT to_regclass('agent_memory.sessions') IS NOT NULL", ()),)

    def unlocked(pgconn: Any, batch: Any, deadline: float) -> Any:
        if not talk(pgconn, asked, deadline)[0][0][0]:
            talk(pgconn, make, deadline)
        return talk(pgconn, batch, deadline)

    store._talk = unlocked


@mutant(
    PostgresStore,
    "class: locks in any order",
    "con-4",
    "test_opposite_orders_do_not_deadlock",
    says="the server had to break a deadlock|some jobs failed|a job did not end",
    isolation="read_committed",
)
def append_locks_all_sessions(store: Any) -> None:
    """An append locks its session, and then all others for a count: opposite orders deadlock."""
    all_of_them = (
        "IF held.last_position BETWEEN 2 AND 8 THEN PERFORM pg_sleep(0.05);"
        " PERFORM 1 FROM {schema}.sessions WHERE namespace = of_namespace FOR UPDATE; END IF;"
        " now_locked := clock_timestamp();"
    )
    sql(store, "append_v1", ("now_locked := clock_timestamp();", all_of_them))


@mutant(
    AsyncRedisStore,
    "class: three tries, then the caller's problem",
    "con-4",
    "test_fifty_writers_of_one_session_all_get_through",
    says="some jobs failed",
)
def update_gives_up_after_three_tries(store: Any) -> None:
    """An update tries three times: with fifty writers most of them fail."""

    def update(session_id: str, change: Any, fence: Any) -> Generator[Any, Any, Any]:
        for _ in range(3):
            current = yield from store._plans.load_context(session_id)
            changed = change(current.value if current else {})
            if hasattr(changed, "__await__"):
                changed = yield changed
            try:
                yield from store._plans.save_context(
                    session_id, changed, current.version if current else 0, fence
                )
            except Conflict:
                continue
            return (yield from store._plans.load_context(session_id))
        raise Conflict("gave up after 3 tries")

    plan(store, "update_context", lambda _: update)


@mutant(
    RedisStore,
    "class: what only some order of calls shows",
    "con-5",
    "test_random_programs_agree_with_a_plain_model",
    says="assert None == (",
)
def context_is_lost_when_a_ttl_is_given(store: Any) -> None:
    """`set_ttl` writes the session anew, and forgets its context."""
    lua(store, "set_ttl", ("return 1", "redis.call('HDEL', KEYS[1], 'c', 'v', 'w') return 1"))


@mutant(
    AsyncRedisStore,
    "E5",
    "con-6",
    "test_store_used_from_two_event_loops",
    says="raised RuntimeError",
)
def connections_belong_to_the_first_event_loop(store: Any) -> None:
    """The pool is made once: its connections are those of an event loop that has ended."""
    get, made = store._pools.get, list[Any]()

    async def once() -> Any:
        if not made:
            made.append(await get())
        return made[0]

    store._pools.get = once


@mutant(
    PostgresStore,
    "class: sockets shared after a fork",
    "con-6",
    "test_store_used_after_a_fork",
    says="the parent",
    alone=True,
)
def child_talks_on_its_parents_socket(store: Any) -> None:
    """Parent and child of a fork talk through one socket, and read each other's replies."""
    pool = store._lender._pool
    ask = pool.ask

    def as_if_here() -> Any:
        pool._process = os.getpid()
        return ask()

    pool.ask = as_if_here
    pool.idle = lambda: pool._idle.pop() if pool._idle else None


@mutant(
    AsyncPostgresStore,
    "E4",
    "ctx-4",
    "test_no_isolation_level_reaches_the_caller",
    says="some jobs failed",
    isolation="repeatable_read",
)
def lost_races_reach_the_caller(store: Any) -> None:
    """A statement that lost a race under REPEATABLE READ is an error, and not tried again."""
    talk = store._talk

    async def once(pgconn: Any, batch: Any, deadline: float) -> Any:
        answers = await _take(pgconn, batch, deadline)
        error = answers[0]
        if not isinstance(error, psycopg.Error):
            return answers
        if error.sqlstate in RACES:
            raise error
        return await talk(pgconn, batch, deadline)

    store._talk = once
