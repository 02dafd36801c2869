"""Groups of servers: redirections, failovers and replicas that a store does not see."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Any

import psycopg

from mutants import mutant
from mutants._surgery import Method, command, wrap
from stores.calls import Busy, Held
from stores.postgres import PostgresStore
from stores.postgres.statements import PostgresCall, Statement
from stores.redis import AsyncRedisStore, RedisStore
from stores.redis.routing import Hop, Journey, Node, SentinelRoute


@mutant(
    RedisStore,
    "B3",
    "top-2",
    "test_every_call_works_while_its_session_moves",
    says="ASK |MOVED |some jobs failed",
    alone=True,
    topology="cluster",
)
def redirections_are_not_followed(store: Any) -> None:
    """MOVED and ASK are errors like any other: nobody goes where they say."""
    route = store._route
    carry = route.carry

    def once(call: Any, deadline: float) -> Journey[Any]:
        if call.lists or not call.keys:
            return (yield from carry(call, deadline))
        node = yield from route._find(call, deadline)
        return (yield Hop(call, deadline, node))

    wrap(route, "carry", lambda _: once)


@mutant(
    AsyncRedisStore,
    "B3",
    "top-2",
    "test_each_session_is_listed_once_while_some_move",
    says="not listed",
    alone=True,
    topology="cluster",
)
def listing_asks_one_node(store: Any) -> None:
    """A listing asks one node of the cluster, which knows its own sessions alone."""

    def make(sessions: Method) -> Method:
        return lambda cursor: replace(sessions(cursor), lists=False)

    command(store, "sessions", make)


@mutant(
    RedisStore,
    "class: keys of one call in two slots",
    "top-2",
    "test_every_call_touches_one_place_whatever_the_id",
    says="CROSSSLOT",
    topology="cluster",
)
def lock_is_in_another_slot(store: Any) -> None:
    """The lock's key has no braces: it hashes to another slot than its session."""
    store._plans.commands.lock_key = lambda session_id: b"lock:" + session_id.encode()


def unchecked(store: Any) -> None:
    """Take a replica's answer without a look at how far it is."""

    def answered(_: Any, answers: Any) -> Any:
        return None if isinstance(answers[1], psycopg.Error) else answers[1]

    store._replicas.answered = answered


def stays(store: Any) -> None:
    """Ask the Sentinels once, and then go where they said for ever."""
    route, found = store._route, list[Node]()
    if not isinstance(route, SentinelRoute):
        return

    def once(call: Any, deadline: float) -> Journey[Any]:
        if not found:
            found.append((yield from route._find(deadline)))
        return (yield Hop(call, deadline, found[0]))

    wrap(route, "carry", lambda _: once)


@mutant(
    RedisStore,
    "B3",
    "top-1",
    "test_the_next_call_after_a_failover_works",
    says="no connection (",
    alone=True,
    topology="sentinel",
)
def primary_is_asked_for_once(store: Any) -> None:
    """The Sentinels are asked at the start only: after a failover every call goes to the dead."""
    stays(store)


@mutant(
    AsyncRedisStore,
    "B3",
    "top-1",
    "test_a_store_leaves_a_primary_that_refuses_for_the_new_one",
    says="NOREPLICAS",
    alone=True,
    topology="sentinel",
)
def refusing_primary_is_kept(store: Any) -> None:
    """A primary that answers is kept, though it refuses every write and another is in charge."""
    stays(store)


@mutant(
    PostgresStore,
    "E3",
    "top-3",
    "test_a_store_sees_its_own_writes_while_replicas_lag",
    says="AssertionError: after",
    topology="replica",
)
def reads_go_to_any_replica(store: Any) -> None:
    """Reads go to a replica, however far it is behind: the newest message is missing."""
    unchecked(store)


@mutant(
    PostgresStore,
    "class: advisory locks on a standby",
    "lock-5",
    "test_a_replica_alone_takes_no_write_and_no_lock",
    says="lock: Outcome(result=None, error=None",
    topology="replica",
)
def lock_is_taken_on_a_standby(store: Any) -> None:
    """An advisory lock can be taken on a standby, and excludes nobody on the primary."""

    def call(session_id: str, text: bytes, values: Any, parse: Any) -> PostgresCall[Any]:
        statement = Statement(text, values)
        return PostgresCall(
            session_id=session_id, repeatable=True, reads=True, parse=parse, statement=statement
        )

    def acquire(session_id: str, owner: str, lease_ms: int) -> PostgresCall[Any]:
        text = b"SELECT pg_try_advisory_lock($1::bigint)"
        key = (zlib.crc32(session_id.encode()),)
        return call(session_id, text, key, lambda rows: Held(1) if rows[0][0] else Busy(1))

    def release(session_id: str, owner: str) -> PostgresCall[Any]:
        text = b"SELECT pg_advisory_unlock($1::bigint)"
        return call(session_id, text, (zlib.crc32(session_id.encode()),), lambda _: True)

    command(store, "acquire", lambda _: acquire)
    command(store, "release", lambda _: release)
