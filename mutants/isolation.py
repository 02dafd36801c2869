"""Ids, namespaces, deletes and listings: sessions that see, list or delete each other."""

from __future__ import annotations

import unicodedata
from collections.abc import Generator
from dataclasses import replace
from typing import Any

from mutants import mutant
from mutants._surgery import Method, command, lua, plan, redis_call, sql
from stores.calls import Page
from stores.postgres import AsyncPostgresStore, PostgresStore
from stores.redis import AsyncRedisStore, RedisStore

ALIKE = "test_ids_that_look_alike_never_meet"
LISTING = "test_listing_gives_each_live_session_once_while_others_come_and_go"
ONE = "test_delete_takes_one_session_and_nothing_else"
PLANS = (
    *("append_messages", "get_history", "save_context", "load_context", "update_context"),
    *("load_session", "delete_session", "set_ttl", "get_ttl"),
)


def renamed(store: Any, change: Any) -> None:
    """Change session ids before they are used."""
    for name in PLANS:
        plan(
            store,
            name,
            lambda original: lambda one, *rest: original(change(one), *rest),
        )


@mutant(PostgresStore, "class: collations", "iso-1", ALIKE, says="Left contains 2 more items")
def ids_are_compared_by_their_looks(store: Any) -> None:
    """Ids are normalised: two that differ only in how an accent is written are one."""
    renamed(store, lambda one: unicodedata.normalize("NFC", one) if type(one) is str else one)


@mutant(AsyncRedisStore, "class: trimmed keys", "iso-1", ALIKE, says="'a '")
def ids_are_trimmed(store: Any) -> None:
    """Spaces around an id are cut off."""
    renamed(store, lambda one: (one.strip() or one) if type(one) is str else one)


@mutant(
    RedisStore,
    "D5",
    "iso-1",
    "test_namespace_and_id_are_never_run_together",
    says="assert [] == ['b:c'",
)
def keys_are_joined_with_a_colon(store: Any) -> None:
    """Namespace and id are joined with a colon: ("a", "b:c") and ("a:b", "c") are one key."""
    commands = store._plans.commands
    name = commands._prefix.partition(b":")[2]
    commands.session_key = lambda session_id: name + session_id.encode()


@mutant(
    PostgresStore,
    "class: str() around arguments",
    "iso-1",
    "test_a_bad_id_is_refused_by_every_call",
    says="append_message raised this for these ids instead of ValueError",
)
def any_id_is_made_text(store: Any) -> None:
    """`str(session_id)`: None becomes the session 'None', which all strangers share."""
    renamed(store, str)


@mutant(RedisStore, "D2", "iso-2", ONE, says="what belongs to others changed")
def delete_goes_by_prefix(store: Any) -> None:
    """A delete takes every key that begins as the session's: user:1 takes user:10 along."""
    each = (
        "for _, key in ipairs(redis.call('KEYS', string.sub(KEYS[1], 1, -10) .. '*:session')) do"
        " redis.call('UNLINK', key) end return {'ok', 1}"
    )
    lua(store, "delete", ("return {'ok', redis.call('UNLINK', KEYS[1])}", each))


@mutant(AsyncRedisStore, "D2", "iso-2", ONE, says="a part of the session stayed")
def delete_leaves_the_context(store: Any) -> None:
    """A delete takes the messages and leaves the context: the agent remembers whom it must not."""
    rest = (
        "local context = redis.call('HGET', KEYS[1], 'c')"
        " local gone = redis.call('UNLINK', KEYS[1])"
        " if context then redis.call('HSET', KEYS[1], 'c', context) end return {'ok', gone}"
    )
    lua(store, "delete", ("return {'ok', redis.call('UNLINK', KEYS[1])}", rest))


@mutant(
    RedisStore,
    "class: Lua's unpack takes 8000 values",
    "iso-2",
    "test_delete_takes_the_whole_of_a_long_session",
    says="too many results to unpack",
)
def long_sessions_cannot_be_deleted(store: Any) -> None:
    """Fields are deleted by one HDEL of them all, which Lua cannot call for 10 000."""
    all_fields = "redis.call('HDEL', KEYS[1], unpack(redis.call('HKEYS', KEYS[1])))"
    lua(
        store,
        "delete",
        (
            "redis.call('UNLINK', KEYS[1])",
            f"redis.call('EXISTS', KEYS[1]) == 1 and {all_fields} or 0",
        ),
    )


@mutant(
    RedisStore,
    "D2",
    "iso-2",
    "test_no_operation_scans_or_flushes_the_server",
    says="isdisjoint",
)
def listing_uses_keys(store: Any) -> None:
    """A listing calls KEYS, which stops a shared server for as long as it takes."""

    def make(sessions: Method) -> Method:
        def keys(_: Any) -> Any:
            call = sessions(None)
            pattern = call.arguments[3]

            def parse(found: Any) -> Page:
                page: Page = call.parse([0, found])
                return page

            return redis_call("*", ["KEYS", pattern], parse)

        return keys

    command(store, "sessions", make)


@mutant(
    RedisStore,
    "A7",
    "iso-2",
    "test_no_operation_scans_or_flushes_the_server",
    says="isdisjoint",
    alone=True,
)
def closing_flushes_the_database(store: Any) -> None:
    """A test's teardown, flushdb, was left in `close`: whatever else is on the server is gone."""
    close = store.close

    def flush() -> None:
        if not store._closed:
            store._run(store._plans._send(redis_call("*", ["FLUSHDB"])))
        close()

    store.close = flush


@mutant(
    RedisStore, "D5", "iso-3", "test_namespaces_are_invisible_to_each_other", says="At index 0 diff"
)
def namespace_is_a_pattern_when_listing(store: Any) -> None:
    """A listing's pattern does not escape the namespace: one with a * lists others' sessions."""

    def make(sessions: Method) -> Method:
        def unescaped(cursor: Any) -> Any:
            call = sessions(cursor)
            pattern = call.arguments[3].replace(b"\\", b"").partition(b":")[2]
            return replace(
                call, arguments=[*call.arguments[:3], b"*" + pattern, *call.arguments[4:]]
            )

        return unescaped

    command(store, "sessions", make)


@mutant(
    RedisStore,
    "class: a delete in several steps",
    "iso-4",
    "test_a_delete_during_an_append_leaves_a_whole_session_or_none",
    says="the message is missing|not exactly the new turn|stayed behind|came back",
)
def delete_takes_the_messages_first(store: Any) -> None:
    """A delete reads which messages there are, and takes those: what comes meanwhile is torn."""

    def make(delete: Method) -> Method:
        def two_steps(session_id: str, fence: Any) -> Generator[Any, Any, bool]:
            key = store._plans.commands.session_key(session_id)
            names = yield from store._plans._send(redis_call(session_id, ["HKEYS", key]))
            if not names:
                return False
            for first in names:
                yield from store._plans._send(redis_call(session_id, ["HDEL", key, first]))
            return True

        return two_steps

    plan(store, "delete_session", make)


@mutant(PostgresStore, "class: OFFSET paging", "iso-5", LISTING, says="were left out")
def listing_pages_by_offset(store: Any) -> None:
    """A listing's next page begins at an offset: each session that goes meanwhile hides one."""
    sql(
        store,
        "sessions_v1",
        ("AND session.session_id > after_session", ""),
        (
            "LIMIT at_most",
            "LIMIT at_most OFFSET CASE WHEN after_session = ''::bytea THEN 0 ELSE at_most END",
        ),
    )

    def make(sessions: Method) -> Method:
        def pages(cursor: Any) -> Any:
            call = sessions(cursor)
            return replace(call, parse=lambda rows: _two_pages(call.parse(rows), cursor))

        return pages

    command(store, "sessions", make)


def _two_pages(page: Page, cursor: Any) -> Page:
    return Page(page.session_ids, None if cursor else page.cursor)


@mutant(AsyncPostgresStore, "D1", "iso-5", LISTING, says="'expired")
def expired_sessions_are_listed(store: Any) -> None:
    """A listing does not ask whether a session has expired."""
    sql(
        store, "sessions_v1", ("AND (session.expires_at IS NULL OR session.expires_at > now())", "")
    )


@mutant(
    RedisStore,
    "class: more rights than documented",
    "iso-6",
    "test_the_documented_privileges_are_enough",
    says="no permissions to run the 'info' command",
)
def ping_asks_for_info(store: Any) -> None:
    """A health check calls INFO, which a user with few rights may not."""
    command(store, "ping", lambda _: lambda: redis_call("*", ["INFO"], lambda _: None))
