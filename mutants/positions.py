"""Ids and positions: what is stored twice, where a message goes, and how it is found again."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from mutants import mutant
from mutants._surgery import Method, command, lua, plan, redis_call, sql
from stores.calls import RawMessage
from stores.errors import Conflict
from stores.interface import StoredMessage
from stores.postgres import PostgresStore
from stores.redis import AsyncRedisStore, RedisStore

IDS = "class: idempotence in the client"


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
def newest_are_cut_from_many(store: Any) -> None:
    """Some thousand messages are read, and all but the newest thrown away."""

    def make(get: Method) -> Method:
        def cut(session_id: str, limit: Any, before: Any) -> Generator[Any, Any, Any]:
            plenty = yield from get(session_id, None if limit is None else 2000, before)
            return plenty if limit is None else plenty[max(0, len(plenty) - limit) :]

        return cut

    plan(store, "get_history", make)
