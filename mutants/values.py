"""Values: what does not come back as what it was, and what should have been refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from dataclasses import replace
from datetime import datetime
from typing import Any

from mutants import mutant
from mutants._surgery import Method, lua, plan, sql
from stores.interface import Message
from stores.postgres import AsyncPostgresStore, PostgresStore
from stores.redis import AsyncRedisStore, RedisStore

COME_BACK = "test_values_come_back_as_what_they_are"
REFUSED = "test_what_cannot_come_back_is_refused"


def walk(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return the value with every leaf changed."""
    if type(value) is dict:
        return {key: walk(item, change) for key, item in value.items()}
    if type(value) is list:
        return [walk(item, change) for item in value]
    return change(value)


def writing(store: Any, change: Callable[[Any], Any]) -> None:
    """Change contexts before they are written."""

    def make(save: Method) -> Method:
        return lambda one, context, *rest: save(one, change(context), *rest)

    plan(store, "save_context", make)


def reading(store: Any, change: Callable[[Any], Any]) -> None:
    """Change contexts after they were read."""

    def make(load: Method) -> Method:
        def loaded(session_id: str) -> Generator[Any, Any, Any]:
            found = yield from load(session_id)
            return found and replace(found, value=change(found.value))

        return loaded

    plan(store, "load_context", make)


@mutant(RedisStore, "B1", "val-1", COME_BACK, says="of type str, wanted datetime.datetime")
def datetimes_are_written_as_text(store: Any) -> None:
    """`json.dumps(default=str)`: a datetime goes in, text comes back."""
    text = "%Y-%m-%d %H:%M:%S%z"
    writing(
        store,
        lambda context: walk(
            context, lambda one: one.strftime(text) if type(one) is datetime else one
        ),
    )


@mutant(RedisStore, "D4", "val-1", COME_BACK, says="value: got the keys")
def records_pass_through_luas_json(store: Any) -> None:
    """A script decodes and encodes the record: [] becomes {}, and numbers keep 14 digits."""
    through = "'v1 ' .. cjson.encode(cjson.decode(string.sub(ARGV[5], 4)))"
    lua(store, "save", ("'c', ARGV[5]", f"'c', {through}"))


@mutant(
    PostgresStore,
    "class: jsonb columns",
    "val-1",
    COME_BACK,
    says="unsupported Unicode escape sequence",
)
def records_pass_through_jsonb(store: Any) -> None:
    """A jsonb column reorders keys, turns -0.0 into 0.0 and refuses NUL."""
    through = (
        "convert_to('v1 ' || (substr(convert_from(new_context, 'UTF8'), 4)::jsonb)::text, 'UTF8')"
    )
    sql(store, "save_v1", ("context = new_context", f"context = {through}"))


@mutant(
    AsyncPostgresStore,
    "class: integers as floats",
    "val-1",
    COME_BACK,
    says="got 9007199254740992, wanted 9007199254740993",
)
def integers_pass_through_floats(store: Any) -> None:
    """Integers beyond 2^53 come back rounded, as from JavaScript or numpy."""
    reading(
        store,
        lambda value: walk(
            value, lambda one: int(float(one)) if type(one) is int and one > 2**53 else one
        ),
    )


@mutant(RedisStore, "A3", "val-2", REFUSED, says="was stored")
def everything_is_serializable(store: Any) -> None:
    """`default=str` writes a lambda or a socket down as its name: nothing is ever refused."""

    def text(context: Any) -> Any:
        try:
            return json.loads(json.dumps(context, default=str))
        except (ValueError, TypeError, RecursionError):
            return context

    writing(store, text)


@mutant(AsyncRedisStore, "A3", "val-2", REFUSED, says="of int key")
def keys_become_text(store: Any) -> None:
    """Keys of other types become text, and tuples lists, as `json.dumps` does by itself."""

    def text(value: Any) -> Any:
        if type(value) is dict:
            return {str(key): text(item) for key, item in value.items()}
        if type(value) is list or type(value) is tuple:
            return [text(item) for item in value]
        return value

    def shallow(context: Any) -> Any:
        try:
            return text(context)
        except RecursionError:
            return context

    writing(store, shallow)


@mutant(
    PostgresStore,
    "B8",
    "val-3",
    "test_text_stays_text",
    says="got datetime.datetime(2024, 2, 29, 0, 0) of type datetime, wanted '2024-02-29'",
)
def text_that_looks_like_a_date_becomes_one(store: Any) -> None:
    """An object hook parses whatever looks like a date."""

    def guess(value: Any) -> Any:
        try:
            return datetime.fromisoformat(value) if type(value) is str else value
        except ValueError:
            return value

    def make(load: Method) -> Method:
        def loaded(session_id: str, limit: Any) -> Generator[Any, Any, Any]:
            found = yield from load(session_id, limit)
            context = replace(found.context, value=walk(found.context.value, guess))
            return replace(found, context=context)

        return loaded

    plan(store, "load_session", make)


@mutant(
    RedisStore,
    "class: numbers written with %.14g",
    "val-4",
    "test_any_value_the_store_accepts_comes_back",
    says="wanted",
)
def floats_keep_fourteen_digits(store: Any) -> None:
    """Floats are written with 14 digits, which is enough for those that people think of."""
    writing(
        store,
        lambda context: walk(
            context, lambda one: float(f"{one:.14g}") if type(one) is float else one
        ),
    )


@mutant(
    PostgresStore,
    "A3",
    "val-2",
    "test_messages_of_other_types_are_refused",
    says="DID NOT RAISE",
)
def fields_of_a_message_become_text(store: Any) -> None:
    """`str()` around role and content: None is stored as 'None'."""

    def make(append: Method) -> Method:
        def text(session_id: str, messages: Any, fence: Any) -> Any:
            as_text = [
                Message(str(m.role), str(m.content), m.id, m.metadata, m.created_at)
                for m in messages
            ]
            return append(session_id, as_text, fence)

        return text

    plan(store, "append_messages", make)
