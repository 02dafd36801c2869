"""Histories: their order, their limits, and turns that belong together."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any

from mutants import mutant
from mutants._surgery import Method, plan, sql
from stores.interface import StoredMessage
from stores.postgres import AsyncPostgresStore, PostgresStore
from stores.redis import AsyncRedisStore, RedisStore


def history(store: Any, change: Any) -> None:
    """Change what a history's plan gives: ``change(messages, session_id, limit, before)``."""

    def make(read: Method) -> Method:
        def changed(session_id: str, limit: Any, before: Any) -> Generator[Any, Any, Any]:
            found = yield from read(session_id, limit, before)
            return change(found, session_id, limit, before)

        return changed

    plan(store, "get_history", make)


@mutant(
    RedisStore,
    "class: messages kept in a set",
    "conv-1",
    "test_what_is_appended_is_read_back",
    says="assert [Message(role",
)
def repeated_texts_are_dropped(store: Any) -> None:
    """A text that was said before is taken for a duplicate."""
    history(store, lambda found, *_: list({one.content: one for one in found}.values()))


@mutant(
    PostgresStore,
    "class: text columns refuse NUL",
    "conv-1",
    "test_what_is_appended_is_read_back",
    says="At index 4 diff",
)
def nul_is_cut_out_of_texts(store: Any) -> None:
    """NUL is cut out of texts, because a text column would refuse it."""

    def make(append: Method) -> Method:
        def cut(session_id: str, messages: Any, fence: Any) -> Any:
            clean = [replace(one, content=one.content.replace("\0", "")) for one in messages]
            return append(session_id, clean, fence)

        return cut

    plan(store, "append_messages", make)


@mutant(
    PostgresStore,
    "class: ORDER BY without DESC",
    "conv-2",
    "test_limit_gives_the_newest_oldest_first",
    says="Omitting",
)
def limit_gives_the_oldest(store: Any) -> None:
    """`limit` cuts the newest messages off: the agent reads how the conversation began."""
    sql(
        store,
        "history_v1",
        ("first_asked := greatest(1, last_asked - newest + 1)", "first_asked := 1"),
        ("BETWEEN first_asked AND last_asked", "BETWEEN 1 AND least(newest, last_asked)"),
        ("SELECT first_asked, last_asked", "SELECT first_asked, least(newest, last_asked)"),
    )


@mutant(
    AsyncRedisStore,
    "class: 0 taken for None",
    "conv-2",
    "test_limit_gives_the_newest_oldest_first",
    says="(0, 6): [",
)
def limit_of_zero_is_all(store: Any) -> None:
    """`if limit` takes 0 for "no limit"."""
    plan(
        store,
        "get_history",
        lambda read: lambda one, limit, before: read(one, limit or None, before),
    )


@mutant(
    PostgresStore,
    "E2",
    "conv-3",
    "test_no_clients_clock_decides_the_order",
    says="AssertionError: a clock 30 s behind",
)
def history_is_sorted_by_created_at(store: Any) -> None:
    """History is sorted by the authors' clocks, which tie, run behind and change zones."""
    history(store, lambda found, *_: sorted(found, key=lambda one: one.created_at))


@mutant(
    AsyncPostgresStore,
    "E2",
    "conv-3",
    "test_no_clients_clock_decides_the_order",
    says="AssertionError: equal timestamps",
)
def order_breaks_only_when_clocks_tie(store: Any) -> None:
    """Messages with the same timestamp come in any order: here, that of their ids."""

    def sort(found: list[StoredMessage], *_: Any) -> list[StoredMessage]:
        tied = len({one.created_at for one in found}) == 1
        return sorted(found, key=lambda one: one.id) if tied else found

    history(store, sort)


@mutant(
    PostgresStore,
    "E1",
    "conv-4",
    "test_a_late_commit_never_appears_before_a_message_already_read",
    says="the later append did not end after the slow one had",
)
def position_is_read_without_a_lock(store: Any) -> None:
    """The next position is read without locking the session: two writers take the same one."""
    read = (
        "SELECT * INTO held FROM {schema}.sessions"
        " WHERE namespace = of_namespace AND session_id = of_session;"
    )
    sql(store, "append_v1", ("held := {schema}.hold_v1(of_namespace, of_session);", read))


@mutant(
    RedisStore,
    "class: a turn in several calls",
    "conv-5",
    "test_batches_of_two_writers_stay_contiguous",
    says="At index",
)
def turn_is_appended_one_by_one(store: Any) -> None:
    """A turn is appended message by message: another writer's come in between."""

    def make(append: Method) -> Method:
        def one_by_one(session_id: str, messages: Any, fence: Any) -> Generator[Any, Any, Any]:
            stored = []
            for message in messages:
                stored += yield from append(session_id, [message], fence)
            return stored

        return one_by_one

    plan(store, "append_messages", make)


@mutant(
    AsyncPostgresStore,
    "class: a turn in several calls",
    "conv-5",
    "test_a_batch_is_stored_wholly_or_not_at_all",
    says="DID NOT RAISE",
)
def half_a_turn_stays(store: Any) -> None:
    """What comes before a turn's bad message is stored already when it is refused."""
    turn_is_appended_one_by_one.apply(store)


@mutant(
    PostgresStore,
    "class: arguments that nobody checks",
    "conv-2",
    "test_a_limit_that_counts_nothing_is_refused",
    says="DID NOT RAISE",
)
def negative_limit_counts_from_the_other_end(store: Any) -> None:
    """A negative limit is taken as a slice would: the error shows as a strange history."""

    def make(read: Method) -> Method:
        def lenient(session_id: str, limit: Any, before: Any) -> Any:
            return read(session_id, abs(int(limit)) if limit is not None else None, before)

        return lenient

    plan(store, "get_history", make)
