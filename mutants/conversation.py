"""Histories: order, limits, positions and ids of messages."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any

from mutants import mutant
from mutants._surgery import Method, command, lua, plan, redis_call, sql
from stores.calls import RawMessage
from stores.errors import Conflict
from stores.interface import StoredMessage
from stores.postgres import AsyncPostgresStore, PostgresStore
from stores.redis import AsyncRedisStore, RedisStore

IDS = "class: idempotence in the client"


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
    RedisStore,
    IDS,
    "conv-6",
    "test_the_same_id_is_stored_once",
    says="Differing attributes",
)
def ids_are_known_to_one_client_only(store: Any) -> None:
    """Which ids are stored is remembered by the client: a retry from another one doubles."""
    lua(store, "append", ("if position then", "if false then"))
    known: dict[tuple[str, str], list[StoredMessage]] = {}

    def make(append: Method) -> Method:
        def remember(session_id: str, messages: Any, fence: Any) -> Generator[Any, Any, Any]:
            key = (session_id, messages[0].id if messages else "")
            if key not in known:
                known[key] = yield from append(session_id, messages, fence)
            return known[key]

        return remember

    plan(store, "append_messages", make)


@mutant(
    AsyncRedisStore,
    "class: check, then act",
    "conv-6",
    "test_the_same_id_from_many_writers_is_stored_once",
    says="assert [StoredMessag",
)
def id_is_looked_up_before_the_append(store: Any) -> None:
    """Whether an id is stored is asked in a call of its own: two that retry at once both append."""
    lua(store, "append", ("if position then", "if false then"))

    def make(append: Method) -> Method:
        def look(session_id: str, messages: Any, fence: Any) -> Generator[Any, Any, Any]:
            ids = [one.id for one in messages]
            there = yield from store._plans.get_history(session_id, None, None)
            found = [one for one in there if one.id in ids]
            return found or (yield from append(session_id, messages, fence))

        return look

    plan(store, "append_messages", make)


@mutant(
    PostgresStore,
    "class: INSERT … ON CONFLICT DO NOTHING",
    "conv-6",
    "test_the_same_id_with_other_content_is_a_conflict",
    says="DID NOT RAISE",
)
def another_content_under_the_same_id_is_dropped(store: Any) -> None:
    """A new message under a taken id is silently taken for the old one."""

    def make(append: Method) -> Method:
        def silent(session_id: str, messages: Any, fence: Any) -> Generator[Any, Any, Any]:
            try:
                return (yield from append(session_id, messages, fence))
            except Conflict:
                there = yield from store._plans.get_history(session_id, None, None)
                return [one for one in there if one.id in {m.id for m in messages}]

        return silent

    plan(store, "append_messages", make)


@mutant(
    RedisStore,
    "class: length taken for a counter",
    "conv-7",
    "test_positions_are_gapless_and_never_reused",
    says="[3, 3] == [5, 6]",
)
def position_is_the_number_of_messages(store: Any) -> None:
    """The next position is counted from what is there: after a trim, one is given out twice."""
    counted = (
        "(function() local n = 0 for _, name in ipairs(redis.call('HKEYS', session)) do"
        " if string.sub(name, 1, 2) == 'm:' then n = n + 1 end end return n end)()"
    )
    lua(store, "append", ("number(redis.call('HGET', session, 'n'))", counted))


@mutant(
    RedisStore,
    "D4",
    "conv-7",
    "test_a_session_outlives_its_first_billions",
    says="the value is not a stored message",
)
def lua_numbers_become_text_by_themselves(store: Any) -> None:
    """A script leaves it to Lua to write numbers down, which keeps 14 digits."""
    lua(store, "append", ("string.format('%.0f', value)", "tostring(value)"))


@mutant(
    PostgresStore,
    "class: int4 columns",
    "conv-7",
    "test_a_session_outlives_its_first_billions",
    says="integer out of range",
)
def positions_are_32_bit(store: Any) -> None:
    """Positions are of type integer: the session stops after 2^31 messages."""
    sql(
        store,
        "append_v1",
        ("held.last_position + entry.place", "(held.last_position + entry.place)::integer"),
    )


@mutant(
    RedisStore,
    "class: OFFSET paging",
    "conv-8",
    "test_paging_neither_skips_nor_repeats",
    says="in pages of",
)
def pages_are_counted_from_the_moving_end(store: Any) -> None:
    """A page is found by how many were read so far: what is appended meanwhile shifts them."""
    at: dict[str, tuple[int, int]] = {}

    def make(get: Method) -> Method:
        def page(session_id: str, limit: Any, before: Any) -> Generator[Any, Any, Any]:
            every = yield from get(session_id, None, None)
            offset, pages_of = at[session_id] if before else (0, len(every))
            end = len(every) - offset
            found = every[max(0, end - limit) : end] if offset < pages_of else []
            at[session_id] = offset + len(found), pages_of
            return found

        return page

    plan(store, "get_history", make)


@mutant(
    RedisStore,
    "class: order of a hash",
    "conv-9",
    "test_order_does_not_depend_on_the_servers_hashing",
    says="assert [Message(role",
)
def history_comes_in_the_hashs_order(store: Any) -> None:
    """HGETALL gives a small hash in the order of its writing: a large one in any."""

    def make(build: Method) -> Method:
        def unsorted(session_id: str, limit: Any, before: Any) -> Any:
            def parse(flat: list[bytes]) -> list[RawMessage]:
                found = []
                for name, value in zip(flat[::2], flat[1::2], strict=True):
                    if name.startswith(b"m:"):
                        at, _, record = value.partition(b":")
                        found.append(RawMessage(int(name[2:]), int(at), record))
                found = [one for one in found if before is None or one.position < before]
                return found if limit is None else found[max(0, len(found) - limit) :]

            key = store._plans.commands.session_key(session_id)
            return redis_call(session_id, ["HGETALL", key], parse)

        return unsorted

    command(store, "history", make)


@mutant(
    PostgresStore,
    "class: the whole history for its end",
    "conv-10",
    "test_a_long_history_costs_no_more",
    says="touched",
)
def newest_are_cut_from_the_whole_history(store: Any) -> None:
    """The whole history is read, and all but its end thrown away."""

    def make(get: Method) -> Method:
        def cut(session_id: str, limit: Any, before: Any) -> Generator[Any, Any, Any]:
            every = yield from get(session_id, None, before)
            return every if limit is None else every[max(0, len(every) - limit) :]

        return cut

    plan(store, "get_history", make)
