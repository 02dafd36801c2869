"""What is lost or comes back wrong after a restart, a kill or a power cut."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from mutants import mutant
from mutants._surgery import Method, lua, plan, sql
from stores.errors import OutcomeUnknown, StoreError, StoreUnavailable
from stores.postgres import AsyncPostgresStore, PostgresStore
from stores.redis import AsyncRedisStore, RedisStore

PROMISED = "test_no_more_is_lost_than_promised"


@mutant(
    PostgresStore,
    "C3",
    "dur-1",
    PROMISED,
    says="the row promises",
    alone=True,
    persistence="durable",
)
def commits_do_not_wait_for_the_disk(store: Any) -> None:
    """Commits with synchronous_commit off: what was acknowledged is lost in a power cut."""
    parameters = store._lender._settings.parameters
    parameters["options"] = f"{parameters.get('options', '')} -c synchronous_commit=off".strip()


@mutant(
    AsyncRedisStore,
    "class: broken for good",
    "dur-1",
    "test_a_store_opened_before_goes_on_after",
    says="unhealthy since the last failure",
    alone=True,
    persistence="aof_always",
)
def health_check_remembers_the_failure(store: Any) -> None:
    """A health check answers with the last call's failure, though the server is back."""
    carry, failed = store._carry, list[StoreError]()

    async def remember(call: Any, deadline: float) -> Any:
        if failed and call.session_id == "*":
            raise StoreUnavailable("unhealthy since the last failure") from failed[-1]
        try:
            reply = await carry(call, deadline)
        except (StoreUnavailable, OutcomeUnknown) as error:
            failed.append(error)
            raise
        failed.clear()
        return reply

    store._carry = remember


@mutant(
    RedisStore,
    "C3",
    "dur-2",
    "test_whatever_is_lost_is_a_tail",
    says="was acknowledged and is not in the final history",
    alone=True,
    persistence="aof_always",
)
def every_fiftieth_message_is_lost(store: Any) -> None:
    """One message in fifty is acknowledged and not written: a hole that no crash explains."""
    lua(
        store,
        "append",
        (
            "'m:' .. position\n  fields",
            "(position % 50 == 0 and 'x:' or 'm:') .. position\n  fields",
        ),
    )


@mutant(
    RedisStore,
    "class: write-behind",
    "dur-2",
    "test_context_and_history_agree",
    says="the context is of",
    alone=True,
    persistence="aof_always",
)
def contexts_are_written_behind(store: Any) -> None:
    """Contexts are written some turns late: after a crash they are older than their history."""
    late: dict[str, list[Any]] = {}

    def make(save: Method) -> Method:
        def behind(session_id: str, context: Any, *rest: Any) -> Generator[Any, Any, int]:
            waiting = late.setdefault(session_id, [])
            waiting.append(context)
            oldest = waiting.pop(0) if len(waiting) > 5 else waiting[0]
            version: int = yield from save(session_id, oldest, *rest)
            return version

        return behind

    plan(store, "save_context", make)


@mutant(
    RedisStore,
    "class: idempotence in the client",
    "dur-3",
    "test_ids_and_positions_survive_with_their_messages",
    says="was not known any more",
    alone=True,
    persistence="aof_always",
)
def ids_are_forgotten_with_the_connection(store: Any) -> None:
    """Which ids are stored is known while the connection lives: after a crash, retries double."""
    lua(store, "append", ("if position then", "if position and ARGV[2] == '' then"))
    lost: list[bool] = []
    carry = store._carry

    def noticing(call: Any, deadline: float) -> Any:
        try:
            return carry(call, deadline)
        except (StoreUnavailable, OutcomeUnknown):
            lost.append(True)
            raise

    store._carry = noticing

    def make(append: Method) -> Method:
        def anew(session_id: str, messages: Any, fence: Any) -> Any:
            return append(session_id, messages, 2**52 if lost and fence is None else fence)

        return anew

    plan(store, "append_messages", make)


@mutant(
    RedisStore,
    "class: versions that start from 1",
    "dur-3",
    "test_versions_never_come_back",
    says=".next_version",
    alone=True,
    persistence="none",
)
def versions_start_again_after_a_loss(store: Any) -> None:
    """Versions count from 1: after a loss a writer from before overwrites what came since."""
    lua(store, "save", ("math.max(version + 1, now_us())", "version + 1"))


@mutant(
    RedisStore,
    "class: fencing tokens that start from 1",
    "lock-3",
    "test_fencing_tokens_only_grow",
    says=".next_token",
    alone=True,
    persistence="none",
)
def tokens_start_again_after_a_crash(store: Any) -> None:
    """Tokens count from 1: after a crash an old holder's token passes for the newest."""
    lua(
        store, "acquire", ("math.max(number(held[2]) + 1, written + 1, now)", "number(held[2]) + 1")
    )


@mutant(
    AsyncPostgresStore,
    "class: fencing tokens that start from 1",
    "dur-3",
    "test_fencing_tokens_only_grow",
    says=".next_token",
    alone=True,
    persistence="unlogged",
)
def tokens_start_again_after_a_kill(store: Any) -> None:
    """The same in unlogged tables, which a crash empties."""
    clock = "held.token + 1, written + 1, {schema}.microseconds_v1(clock_timestamp())"
    sql(store, "acquire_v1", (clock, "held.token + 1, 1"))


@mutant(
    RedisStore,
    "D1",
    "dur-3",
    "test_ttls_survive_and_do_not_start_anew",
    says="lost its TTL",
    alone=True,
    persistence="aof_always",
)
def ttl_is_kept_by_the_client(store: Any) -> None:
    """Lifetimes are kept by a timer of the program, and the server knows nothing of them."""
    for name in ("append", "save"):
        lua(store, name, ("slide(session, ttl)\nreturn", "return"))
