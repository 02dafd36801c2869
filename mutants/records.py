"""Records: garbage, old and new formats, and lengths that a server or a limit refuses."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from typing import Any

from mutants import mutant
from mutants._surgery import Method, plan, sql
from stores.errors import CorruptRecord, RecordTooLarge, UnsupportedRecordVersion
from stores.postgres import AsyncPostgresStore, PostgresStore
from stores.redis import AsyncRedisStore, RedisStore

CORRUPT_MESSAGE = "test_a_corrupt_message_is_named_and_the_others_stay_readable"


def refusing(store: Any, name: str, answer: Callable[[Exception, Any], Any]) -> None:
    """Answer unreadable records instead of raising."""

    def make(read: Method) -> Method:
        def quiet(*args: Any) -> Generator[Any, Any, Any]:
            try:
                return (yield from read(*args))
            except (CorruptRecord, UnsupportedRecordVersion) as error:
                return answer(error, args)

        return quiet

    plan(store, name, make)


def _crash(error: Exception, _: Any) -> Any:
    raise json.JSONDecodeError("Expecting value", str(error), 0)


@mutant(RedisStore, "B7", "val-5", CORRUPT_MESSAGE, says="DID NOT RAISE CorruptRecord")
def garbage_looks_like_no_history(store: Any) -> None:
    """A record that cannot be read makes the whole history look empty."""
    refusing(store, "get_history", lambda *_: [])


@mutant(AsyncRedisStore, "B1", "val-5", CORRUPT_MESSAGE, says="JSONDecodeError")
def garbage_crashes_the_agent(store: Any) -> None:
    """A record that cannot be read is a JSONDecodeError, which names neither session nor place."""
    refusing(store, "get_history", _crash)


@mutant(
    PostgresStore,
    "B7",
    "val-5",
    "test_a_corrupt_context_is_named_and_the_history_stays_readable",
    says="DID NOT RAISE CorruptRecord",
)
def garbage_looks_like_no_context(store: Any) -> None:
    """A context that cannot be read is answered with None, and overwritten by the next turn."""
    refusing(store, "load_context", lambda *_: None)


@mutant(
    RedisStore,
    "B7",
    "val-5",
    "test_a_foreign_value_is_no_session",
    says="DID NOT RAISE CorruptRecord",
)
def wrong_type_looks_like_no_history(store: Any) -> None:
    """WRONGTYPE is taken for "there is no session"."""
    refusing(store, "get_history", lambda *_: [])
    refusing(store, "load_context", lambda *_: None)


EARLIER = "test_every_earlier_format_is_read"


@mutant(PostgresStore, "C1", "val-6", EARLIER, says="assert 2 == (4 + 1)")
def oldest_records_are_dropped(store: Any) -> None:
    """The reader skips records of the first format: amnesia about what came before the release."""

    def make(read: Method) -> Method:
        def skip(*args: Any) -> Generator[Any, Any, Any]:
            found = yield from read(*args)
            return [one for one in found if not one.id.startswith("v0-")]

        return skip

    plan(store, "get_history", make)


@mutant(RedisStore, "C1", "val-6", EARLIER, says="'id' is missing")
def new_reader_refuses_old_records(store: Any) -> None:
    """The new reader raises on records of the first format."""

    def make(read: Method) -> Method:
        def strict(*args: Any) -> Generator[Any, Any, Any]:
            found = yield from read(*args)
            if any(one.id.startswith("v0-") for one in found):
                raise CorruptRecord("'id' is missing", session_id=args[0])
            return found

        return strict

    plan(store, "get_history", make)


NEWER = "test_a_newer_format_is_refused"


@mutant(AsyncPostgresStore, "C1", "val-6", NEWER, says="DID NOT RAISE UnsupportedRecordVersion")
def records_of_a_newer_version_are_dropped(store: Any) -> None:
    """An old reader answers "nothing there" for what a newer version wrote."""

    def empty(error: Exception, _: Any) -> Any:
        if isinstance(error, CorruptRecord):
            raise error
        return []

    refusing(store, "get_history", empty)


@mutant(
    RedisStore,
    "class: a limit in characters",
    "val-7",
    "test_a_long_record_is_refused_before_sending",
    says="DID NOT RAISE",
)
def records_of_any_length_are_sent(store: Any) -> None:
    """`max_record_bytes` is counted in characters: texts of two bytes each pass."""
    store._plans.max_record_bytes *= 2


@mutant(
    AsyncRedisStore,
    "class: a long reply breaks the connection",
    "val-7",
    "test_a_servers_own_limit_is_a_clear_error",
    says="DID NOT RAISE StoreError",
)
def servers_limit_looks_like_success(store: Any) -> None:
    """What the server refuses for its length is logged, and the agent goes on."""

    def make(save: Method) -> Method:
        def quiet(*args: Any) -> Generator[Any, Any, Any]:
            try:
                return (yield from save(*args))
            except RecordTooLarge:
                raise
            except Exception:
                return 1

        return quiet

    plan(store, "save_context", make)


@mutant(
    PostgresStore,
    "class: text columns",
    "val-8",
    "test_no_encoding_changes_text",
    says="has no equivalent in encoding",
)
def records_are_text_to_the_server(store: Any) -> None:
    """Records pass through the database's text type, whose encoding may lack most text."""
    through = "convert_to(convert_from(new_context, 'UTF8'), 'UTF8')"
    through = f"CASE WHEN position('\\000'::bytea in new_context) = 0 THEN {through} END"
    sql(store, "save_v1", ("context = new_context", f"context = {through}"))
