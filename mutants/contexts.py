"""Contexts: versions, updates of many writers, and reads of one moment."""

from __future__ import annotations

import threading
from collections.abc import Generator
from typing import Any

import psycopg

from mutants import mutant
from mutants._surgery import Method, lua, plan
from stores.errors import Conflict
from stores.interface import Context, Session
from stores.postgres import AsyncPostgresStore, PostgresStore
from stores.postgres.exchange import RACES
from stores.postgres.store import _take
from stores.redis import AsyncRedisStore, RedisStore

WON = "test_one_of_many_writers_wins"
STALE = "test_a_stale_writer_is_refused"


def unguarded(store: Any) -> None:
    """Let `update_context` save over whatever there is by then."""

    def update(session_id: str, change: Any, fence: Any) -> Generator[Any, Any, Context]:
        current = yield from store._plans.load_context(session_id)
        changed = change(current.value if current else {})
        if hasattr(changed, "__await__"):
            changed = yield changed
        version = yield from store._plans.save_context(session_id, changed, None, fence)
        return Context(changed, version)

    plan(store, "update_context", lambda _: update)


@mutant(
    AsyncRedisStore,
    "class: empty taken for absent",
    "ctx-1",
    "test_load_gives_what_save_stored",
    says="was stored, and is not there",
)
def empty_context_is_none(store: Any) -> None:
    """`if context` takes an empty context for none."""

    def make(load: Method) -> Method:
        def loaded(session_id: str) -> Generator[Any, Any, Any]:
            found = yield from load(session_id)
            return found if found and found.value else None

        return loaded

    plan(store, "load_context", make)


@mutant(
    PostgresStore,
    "class: a default where there is nothing",
    "ctx-1",
    "test_a_history_is_not_a_context",
    says="Context(value={}, version=0) is None",
)
def missing_context_is_empty(store: Any) -> None:
    """A session without a context is answered with an empty one."""

    def make(load: Method) -> Method:
        def loaded(session_id: str) -> Generator[Any, Any, Any]:
            found = yield from load(session_id)
            return found or Context({}, 0)

        return loaded

    plan(store, "load_context", make)


@mutant(RedisStore, "E1", "ctx-2", STALE, says="DID NOT RAISE")
def versions_are_seconds(store: Any) -> None:
    """A version is a clock's second: two saves within one have the same."""
    clock = "integer(math.max(version + 1, now_us()))"
    lua(store, "save", (clock, "integer(math.floor(now_us() / 1000000))"))


@mutant(
    RedisStore,
    "class: versions that start from 1",
    "ctx-2",
    STALE,
    says="a version of the deleted session came back",
)
def deleted_versions_come_back(store: Any) -> None:
    """Versions count from 1 again after a delete."""
    lua(store, "save", ("math.max(version + 1, now_us())", "version + 1"))


@mutant(PostgresStore, "E1", "ctx-2", WON, says="all saved over version")
def version_is_compared_in_the_client(store: Any) -> None:
    """The stored version is read, compared in the client, and then overwritten."""

    def make(save: Method) -> Method:
        def compare(
            session_id: str, context: Any, if_version: Any, fence: Any
        ) -> Generator[Any, Any, Any]:
            current = yield from store._plans.load_context(session_id)
            if if_version is not None and if_version != (current.version if current else 0):
                raise Conflict("another version is stored")
            return (yield from save(session_id, context, None, fence))

        return compare

    plan(store, "save_context", make)


@mutant(
    AsyncRedisStore,
    "C2",
    "ctx-3",
    "test_updates_of_disjoint_keys_are_all_kept",
    says="acknowledged updates were lost",
)
def update_reads_merges_and_writes(store: Any) -> None:
    """An update reads, merges and writes: of two at once, one is lost."""
    unguarded(store)


_IN_THIS_PROCESS = threading.RLock()


@mutant(
    PostgresStore,
    "C2",
    "ctx-3",
    "test_updates_of_processes_are_all_kept",
    says="acknowledged updates were lost",
)
def update_is_guarded_by_a_lock_of_the_process(store: Any) -> None:
    """A lock of the process guards updates: threads are safe, a second worker is not."""
    unguarded(store)
    run = store._run

    def guarded(steps: Any) -> Any:
        with _IN_THIS_PROCESS:
            return run(steps)

    store._run = guarded


@mutant(
    PostgresStore,
    "E4",
    "ctx-4",
    "test_no_isolation_level_reaches_the_caller",
    says="some jobs failed",
    isolation="serializable",
)
def serialization_failures_reach_the_caller(store: Any) -> None:
    """A statement that lost a race is not tried again: under SERIALIZABLE every few fail."""
    talk = store._talk

    def once(pgconn: Any, batch: Any, deadline: float) -> Any:
        answers = _take(pgconn, batch, deadline)
        error = answers[0]
        if not isinstance(error, psycopg.Error):
            return answers
        if error.sqlstate in RACES:
            raise error
        return talk(pgconn, batch, deadline)

    store._talk = once


@mutant(
    RedisStore,
    "E4",
    "ctx-5",
    "test_a_session_is_read_as_of_one_moment",
    says="Session(session_id='a session'",
)
def session_is_read_in_two_steps(store: Any) -> None:
    """Context and history are two reads: a write in between shows both of no one moment."""

    def load(session_id: str, limit: Any) -> Generator[Any, Any, Session | None]:
        context = yield from store._plans.load_context(session_id)
        history = yield from store._plans.get_history(session_id, limit, None)
        return Session(session_id, history, context) if history or context else None

    plan(store, "load_session", lambda _: load)


@mutant(
    AsyncPostgresStore,
    "class: errors in a callback",
    "ctx-6",
    "test_a_failing_change_leaves_the_context",
    says="DID NOT RAISE",
)
def error_of_a_change_is_swallowed(store: Any) -> None:
    """What `change` raises is logged, and the update reported as done."""

    def make(update: Method) -> Method:
        def quiet(session_id: str, change: Any, fence: Any) -> Generator[Any, Any, Any]:
            try:
                return (yield from update(session_id, change, fence))
            except Exception:
                return (yield from store._plans.load_context(session_id))

        return quiet

    plan(store, "update_context", make)


@mutant(
    RedisStore,
    "class: a forgotten return",
    "ctx-6",
    "test_a_change_to_what_cannot_be_stored_leaves_the_context",
    says="DID NOT RAISE",
)
def change_without_a_return_empties_the_context(store: Any) -> None:
    """A `change` that forgets to return leaves an empty context."""

    def make(save: Method) -> Method:
        def saved(session_id: str, context: Any, *rest: Any) -> Any:
            return save(session_id, {} if context is None else context, *rest)

        return saved

    plan(store, "save_context", make)


@mutant(
    RedisStore,
    "class: arguments that nobody checks",
    "ctx-2",
    "test_a_version_that_none_can_have_is_refused",
    says="DID NOT RAISE",
)
def impossible_version_is_no_condition(store: Any) -> None:
    """An `if_version` that is no version is taken for none: the save goes through unguarded."""

    def make(save: Method) -> Method:
        def lenient(session_id: str, context: Any, if_version: Any, fence: Any) -> Any:
            sound = type(if_version) is int and 0 <= if_version < 2**63
            return save(session_id, context, if_version if sound else None, fence)

        return lenient

    plan(store, "save_context", make)
