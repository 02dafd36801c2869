"""Reads that replicas may answer, and servers that take a replica's place or lose it."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any

import psycopg

from mutants import mutant
from mutants._surgery import Method, plan, wrap
from mutants.outages import as_if_stored
from mutants.topology import stays, unchecked
from stores.errors import LockNotAcquired, StoreUnavailable
from stores.postgres import AsyncPostgresStore, PostgresStore
from stores.postgres.failures import failed, not_sent
from stores.redis import AsyncRedisStore, RedisStore
from stores.redis.routing import Hop, Journey, Node, SentinelRoute


@mutant(
    AsyncPostgresStore,
    "E3",
    "top-3",
    "test_no_read_goes_back_behind_what_a_call_told",
    says="after a refused save|after the read of an update|after taking a lock",
    topology="replica",
)
def reads_go_back_in_time(store: Any) -> None:
    """Each read takes whatever a replica answers: what was seen once is gone in the next one."""
    unchecked(store)


@mutant(
    AsyncPostgresStore,
    "class: replicas that nobody asks",
    "top-3",
    "test_replicas_in_step_answer_the_reads_and_nothing_else",
    says="assert StoreUnavailable(",
    topology="replica",
)
def replicas_are_never_asked(store: Any) -> None:
    """Replicas are configured and never asked: while the primary is away nothing is read."""
    wrap(store._replicas, "question", lambda _: lambda *_: None)


@mutant(
    PostgresStore,
    "class: a dead replica fails the read",
    "top-3",
    "test_a_replica_that_is_gone_changes_no_answer",
    says="some jobs failed",
    topology="replica",
)
def dead_replica_fails_the_read(store: Any) -> None:
    """A replica that does not answer is an error for the caller: the primary is not asked."""

    def raising(question: Any, error: Any) -> None:
        raise StoreUnavailable("the replica does not answer") from error

    store._replicas.failed = raising


@mutant(
    PostgresStore,
    "E3",
    "top-3",
    "test_reads_stay_right_when_a_replica_takes_over",
    says="the server is a standby",
    alone=True,
    topology="replica",
)
def other_hosts_of_the_url_are_ignored(store: Any) -> None:
    """Of the URL's hosts the first is used, which was the primary once."""
    settings = store._lender._settings.parameters
    for name in ("host", "port"):
        settings[name] = str(settings.get(name, "")).split(",")[0]
    settings.pop("target_session_attrs", None)


@mutant(
    PostgresStore,
    "class: connections to a standby go back to the pool",
    "top-1",
    "test_an_address_that_led_to_a_replica_leads_to_the_primary_again",
    says="in a read-only transaction",
    topology="replica",
)
def connections_to_a_replica_are_kept(store: Any) -> None:
    """A server that refuses writes is asked again: its connection works, and is kept."""

    def ask(call: Any, deadline: float) -> Any:
        try:
            loan = store._lender.take(deadline)
        except (psycopg.Error, OSError) as error:
            raise not_sent(call.session_id, error) from error
        try:
            return store._talk(loan.pgconn, (call.statement,), deadline)[0]
        except psycopg.Error as error:
            raise failed(call, error) from error
        finally:
            store._lender.give_back(loan)

    store._ask_primary = ask


@mutant(
    RedisStore,
    "A1",
    "top-1",
    "test_a_primary_that_wants_replicas_refuses_when_it_is_alone",
    says="answered StoredMessage",
    alone=True,
    topology="sentinel",
)
def refused_write_is_logged(store: Any) -> None:
    """A write that the server refuses for lack of replicas is logged, and answered as stored."""

    def make(append: Method) -> Method:
        def quiet(session_id: str, messages: Any, fence: Any) -> Generator[Any, Any, Any]:
            try:
                return (yield from append(session_id, messages, fence))
            except StoreUnavailable as error:
                if "NOREPLICAS" not in str(error):
                    raise
                return as_if_stored(session_id, messages)

        return quiet

    plan(store, "append_messages", make)


@mutant(
    RedisStore,
    "B3",
    "top-1",
    "test_a_session_goes_on_after_a_split",
    says="assert StoreUnavailable(",
    alone=True,
    topology="sentinel",
)
def old_primary_is_kept_after_a_split(store: Any) -> None:
    """Who was the primary before the split is asked after it, and answers as a replica."""
    stays(store)


@mutant(
    AsyncRedisStore,
    "B3",
    "top-2",
    "test_writes_go_on_while_sessions_move",
    says="stale: a read by writer",
    alone=True,
    topology="cluster",
)
def reads_find_nothing_where_a_session_has_left(store: Any) -> None:
    """A read that is redirected is answered with an empty history."""
    route = store._route
    carry = route.carry

    def once(call: Any, deadline: float) -> Journey[Any]:
        if not call.reads or call.lists or not call.keys or call.script is None:
            return (yield from carry(call, deadline))
        node = yield from route._find(call, deadline)
        try:
            return (yield Hop(call, deadline, node))
        except StoreUnavailable:
            return []

    wrap(route, "carry", lambda _: once)


@mutant(
    RedisStore,
    "B3",
    "top-2",
    "test_a_new_lock_is_whole_or_refused_while_its_session_moves",
    says="error=LockNotAcquired('another holds the lock')",
    alone=True,
    topology="cluster",
)
def refused_lock_is_said_to_be_held(store: Any) -> None:
    """A lock that the server cannot look at now is reported as another's."""

    def make(acquire: Method) -> Method:
        def held(*args: Any) -> Generator[Any, Any, int]:
            try:
                token: int = yield from acquire(*args)
            except StoreUnavailable as error:
                raise LockNotAcquired("another holds the lock") from error
            return token

        return held

    plan(store, "acquire", make)


@mutant(
    RedisStore,
    "B3",
    "top-3",
    "test_who_only_reads_leaves_the_old_primary_too",
    says="At index 0 diff",
    alone=True,
    topology="sentinel",
)
def reads_stay_with_the_old_primary(store: Any) -> None:
    """Writes find the new primary, and reads go on at the old one, which is a replica now."""
    route, found = store._route, list[Node]()
    if not isinstance(route, SentinelRoute):
        return
    carry = route.carry
    settings = replace(store._servers.settings, replicas=True)
    store._servers = replace(store._servers, settings=settings)

    def once(call: Any, deadline: float) -> Journey[Any]:
        if not call.reads or call.lists:
            return (yield from carry(call, deadline))
        if not found:
            found.append((yield from route._find(deadline)))
        return (yield Hop(call, deadline, found[0]))

    wrap(route, "carry", lambda _: once)
