"""Lifetimes: sessions that live for ever, too short, or on after their end."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from mutants import mutant
from mutants._surgery import Method, lua, plan, redis_call, sql
from stores.postgres import AsyncPostgresStore, PostgresStore
from stores.redis import AsyncRedisStore, RedisStore

SLIDES = "test_every_write_refreshes_the_ttl_and_no_read_does"


@mutant(RedisStore, "D1", "ttl-2", SLIDES, says="has lost its TTL, and lives for ever")
def save_drops_the_ttl(store: Any) -> None:
    """Overwriting a context drops the session's TTL, as SET does without KEEPTTL."""
    lua(store, "save", ("slide(session, ttl)", "redis.call('PERSIST', session)"))


@mutant(PostgresStore, "D1", "ttl-2", SLIDES, says="s too late")
def ttl_runs_from_the_first_write(store: Any) -> None:
    """Only the first write sets the TTL: a conversation ends in the middle."""
    once = "expires_at = coalesce(expires_at, {schema}.expiry_v1(held.ttl_ms, with_ttl_ms))"
    sql(store, "append_v1", ("expires_at = {schema}.expiry_v1(held.ttl_ms, with_ttl_ms)", once))


@mutant(AsyncRedisStore, "D1", "ttl-2", SLIDES, says="s too early")
def every_session_ends_within_five_minutes(store: Any) -> None:
    """One line of configuration: no session lives for more than 300 s."""
    store._plans.ttl_ms = min(store._plans.ttl_ms or 300_000, 300_000)


@mutant(RedisStore, "D1", "ttl-2", SLIDES, says="get_ttl tells another TTL than there is")
def reading_refreshes_the_ttl(store: Any) -> None:
    """Reading a history starts its TTL anew: polling keeps sessions for ever."""
    lua(store, "history", ("return", "redis.call('PEXPIRE', KEYS[1], 9000000) return"))


@mutant(
    RedisStore,
    "D1",
    "ttl-2",
    "test_a_sessions_own_ttl_slides_with_every_write",
    says="has lost its TTL, and lives for ever",
)
def stores_ttl_goes_before_the_sessions_own(store: Any) -> None:
    """The next write forgets the TTL that `set_ttl` gave the session."""
    lua(store, "append", ("if own then ttl = own end", ""))


@mutant(
    RedisStore,
    "B2",
    "ttl-3",
    "test_a_ttl_that_is_no_lifetime_is_refused",
    says="'opening a store': False",
    options=lambda options: {**options, "ttl": options.get("ttl") or None},
)
def ttl_of_zero_is_for_ever(store: Any) -> None:
    """A TTL of 0 is taken for "none was set", and sessions live for ever."""


@mutant(
    AsyncPostgresStore,
    "class: TTL in whole seconds",
    "ttl-3",
    "test_a_ttl_keeps_its_milliseconds",
    says="s too early",
)
def ttl_is_cut_to_whole_seconds(store: Any) -> None:
    """A TTL is cut to whole seconds, as EXPIRE takes it."""
    store._plans.ttl_ms = store._plans.ttl_ms // 1000 * 1000


@mutant(
    RedisStore,
    "D1",
    "ttl-4",
    "test_a_cut_connection_never_leaves_a_session_without_its_ttl",
    says="it has no TTL",
)
def ttl_is_a_second_command(store: Any) -> None:
    """The TTL is set by a command after the write: cut in between, the session lives for ever."""
    lua(store, "append", ("slide(session, ttl)", ""))

    def make(append: Method) -> Method:
        def appended(session_id: str, *args: Any) -> Generator[Any, Any, Any]:
            stored = yield from append(session_id, *args)
            key = store._plans.commands.session_key(session_id)
            ends = redis_call(session_id, ["PEXPIRE", key, store._plans.ttl_ms or 10**12])
            yield from store._plans._send(ends)
            return stored

        return appended

    plan(store, "append_messages", make)


@mutant(
    RedisStore,
    "D1",
    "ttl-6",
    "test_an_expired_session_starts_anew",
    says="the old counter went on",
)
def counter_outlives_the_session(store: Any) -> None:
    """The counter of positions has a key of its own, which does not expire with the session."""
    lua(
        store,
        "append",
        ("number(redis.call('HGET', session, 'n'))", "number(redis.call('GET', session .. ':n'))"),
        ("set_fields(session", "redis.call('SET', session .. ':n', fields[2]) set_fields(session"),
    )


@mutant(
    PostgresStore,
    "D1",
    "ttl-1",
    "test_an_expired_session_is_gone_for_every_read",
    says="these calls took the session for a live one",
)
def expired_context_is_still_read(store: Any) -> None:
    """One of the reads does not ask whether the session has expired."""
    alive = "AND (session.expires_at IS NULL OR session.expires_at > now())"
    sql(store, "context_v1", (alive, ""))


@mutant(
    RedisStore,
    "class: a session in two keys",
    "ttl-1",
    "test_an_expired_session_goes_although_nobody_touches_it",
    says="something of it stayed",
)
def copy_of_the_context_never_expires(store: Any) -> None:
    """A part of the session is kept under a second key, which nobody gave a TTL."""
    copied = "redis.call('SET', session .. ':copy', ARGV[5]) set_fields(session, fields)"
    lua(store, "save", ("set_fields(session, fields)", copied))


@mutant(
    PostgresStore,
    "class: reads that count on the sweeper",
    "ttl-8",
    "test_a_dead_sweeper_changes_no_answer",
    says="Left contains 2 more items",
    retention="swept",
)
def history_counts_on_the_sweeper(store: Any) -> None:
    """Histories are read whether expired or not: the sweeper will have deleted them."""
    sql(store, "history_v1", ("AND (expires_at IS NULL OR expires_at > now())", ""))


@mutant(
    AsyncRedisStore,
    "class: a guard that takes absence for consent",
    "ttl-7",
    "test_a_session_that_expires_during_an_update_is_not_brought_back",
    says="{'old': True, 'changed': 1} == {'changed': 2}",
)
def update_brings_an_expired_session_back(store: Any) -> None:
    """The version is compared only where there is one: an update lands on a session's ghost."""
    lua(
        store,
        "save",
        ("tonumber(expected) ~= version", "version > 0 and tonumber(expected) ~= version"),
    )


@mutant(
    PostgresStore,
    "class: versions that start from 1",
    "ttl-7",
    "test_a_session_that_began_anew_during_an_update_is_not_overwritten",
    says="{'old': True, 'changed': 1} == {'new': True, 'changed': 2}",
)
def each_life_counts_versions_from_one(store: Any) -> None:
    """Versions count from 1 in each life of a session: an update meets another life's."""
    sql(
        store,
        "save_v1",
        ("greatest(stored + 1, {schema}.microseconds_v1(clock_timestamp()))", "stored + 1"),
    )


@mutant(
    RedisStore,
    "D1",
    "ttl-5",
    "test_a_lifetime_goes_on_while_the_server_is_down",
    says="left of sessions, of which one has run out|s too late",
    alone=True,
    persistence="aof_always",
)
def given_ttl_waits_for_the_next_write(store: Any) -> None:
    """A TTL that a session is given is noted, and begins to run with the next write."""
    lua(store, "set_ttl", ("slide(KEYS[1], ARGV[1])\nreturn", "return"))
