"""Connections: leaked, kept when broken, poisoned, counted on, and quoted with their password."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import pq

from mutants import mutant
from stores.errors import OutcomeUnknown, StoreError, StoreUnavailable
from stores.postgres import AsyncPostgresStore, PostgresStore
from stores.postgres.lending import Loan
from stores.redis import AsyncRedisStore, RedisStore

LEAK = "test_neither_use_nor_failures_nor_closing_leak_connections"
EXHAUSTED = "test_an_exhausted_pool_is_an_error_in_time_and_recovers"
GONE = "test_calls_work_on_when_what_was_prepared_is_gone"
POOLED = "test_calls_work_through_a_proxy_that_pools_transactions"
KILLED = "test_the_call_after_all_connections_were_killed_works"
FAULT = "test_the_call_after_a_fault_works"
POISON = "test_a_bad_message_does_not_poison_the_connection"
OPEN = "test_no_call_leaves_a_transaction_open"
LOGIN = "test_a_refused_login_is_a_clear_error_without_the_password"


@mutant(RedisStore, "A5", "net-8", LEAK, says="after replies that broke off")
def failed_calls_keep_their_connection(store: Any) -> None:
    """After an error a connection is not given back: the pool runs dry, failure by failure."""
    pool = store._pool(None)
    release = pool.release
    pool.release = lambda connection: connection.is_connected and release(connection)


@mutant(PostgresStore, "A5", "net-8", LEAK, says="close() has left some")
def closing_leaves_connections_open(store: Any) -> None:
    """`close` marks the store as closed, and leaves its connections open."""
    kept: list[Any] = []
    take = store._lender.take

    def taken(deadline: float, *, writes: bool = False) -> Loan:
        loan: Loan = take(deadline, writes=writes)
        kept.append(loan)
        return loan

    store._lender.take = taken
    store._lender.close = lambda: None
    _KEPT.append(kept)


_KEPT: list[list[Any]] = []
"""What a program holds on to; else the garbage collector would close it."""


@mutant(
    AsyncRedisStore,
    "D3",
    "net-8",
    LEAK,
    says="more than max_connections",
    options=lambda options: {**options, "max_connections": 100},
)
def pool_has_no_limit(store: Any) -> None:
    """`max_connections` is not passed on: a burst opens a connection for each call."""


@mutant(PostgresStore, "D3", "net-8", EXHAUSTED, says="the timeout is 0.")
def waiting_for_a_connection_has_no_end(store: Any) -> None:
    """Waiting for a free connection is not part of the timeout."""
    store._lender._patience = 60.0
    take = store._lender.take
    store._lender.take = lambda deadline, **how: take(deadline + 60.0, **how)


@mutant(
    PostgresStore,
    "class: broken connections go back to the pool",
    "net-5",
    KILLED,
    says="the reply was lost (terminating connection due to administrator command)",
)
def idle_connections_are_not_looked_at(store: Any) -> None:
    """An idle connection is used without a look at whether the server has closed it."""
    pool = store._lender._pool
    store._lender.distrust = lambda: None
    pool.idle = lambda: pool._idle.pop() if pool._idle else None


@mutant(
    RedisStore,
    "class: broken for good",
    "net-5",
    FAULT,
    says="error=StoreUnavailable(\"session 'refused, called by url'",
)
def one_failure_breaks_the_store(store: Any) -> None:
    """After a failed call the store stays broken, until somebody makes a new one."""
    carry, broken = store._carry, list[StoreError]()

    def once(call: Any, deadline: float) -> Any:
        if broken:
            raise broken[0]
        try:
            return carry(call, deadline)
        except (StoreUnavailable, OutcomeUnknown) as error:
            broken.append(error)
            raise

    store._carry = once


class QuotingRedisStore(RedisStore):
    """Tells in full which URL it could not read."""

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Any:
        try:
            return super().from_url(url, **options)
        except ValueError as error:
            raise ValueError(f"{url} is no URL: {error}") from error


@mutant(
    QuotingRedisStore,
    "class: secrets in messages",
    "net-10",
    "test_a_url_with_a_raw_password_is_refused_without_it",
    says="is no URL",
)
def bad_url_is_quoted(store: Any) -> None:
    """A URL that cannot be read is quoted, and what could not be read was the password."""


def _loads_scripts_once(store: Any) -> None:
    """Load scripts at the first use, and take them to be there from then on."""
    loaded: set[str] = set()

    def talk(connection: Any, hop: Any) -> Any:
        call = hop.call
        connection.deadline = hop.deadline
        first = call.script is not None and call.script.sha not in loaded
        connection.send_command(*(call.by_source() if first else call.by_digest()))
        reply = connection.read_response(disable_decoding=True, timeout=60)
        if first:
            loaded.add(call.script.sha)
        return reply

    store._talk = talk


@mutant(RedisStore, "class: EVALSHA without EVAL", "net-9", GONE, says="No matching script")
def scripts_are_taken_to_be_loaded(store: Any) -> None:
    """Scripts are loaded once: after SCRIPT FLUSH or a failover every call fails."""
    _loads_scripts_once(store)


@mutant(
    RedisStore,
    "class: EVALSHA without EVAL",
    "net-5",
    "test_the_next_call_after_a_restart_works",
    says="No matching script",
    alone=True,
)
def scripts_are_gone_after_a_restart(store: Any) -> None:
    """The same, where the server was restarted: no call works again."""
    _loads_scripts_once(store)


@mutant(
    PostgresStore,
    "class: prepared statements behind a pooler",
    "net-9",
    POOLED,
    says='prepared statement "ping" does not exist',
)
def statements_are_prepared_once(store: Any) -> None:
    """A statement is prepared on one server connection, and used on whichever comes next."""
    talk, prepared = store._talk, set[int]()

    def talk_prepared(pgconn: Any, batch: Any, deadline: float) -> Any:
        if id(pgconn) not in prepared:
            pgconn.prepare(b"ping", b"SELECT 1")
            prepared.add(id(pgconn))
        result = pgconn.exec_prepared(b"ping", [])
        if result.status != pq.ExecStatus.TUPLES_OK:
            raise psycopg.errors.InvalidSqlStatementName(result.error_message.decode())
        return talk(pgconn, batch, deadline)

    store._talk = talk_prepared


@mutant(
    PostgresStore,
    "class: aborted transactions",
    "net-6",
    POISON,
    says="current transaction is aborted",
)
def error_leaves_its_transaction_aborted(store: Any) -> None:
    """A statement that fails leaves its transaction open, and the next one is ignored."""
    talk = store._talk

    def talk_in_transaction(pgconn: Any, batch: Any, deadline: float) -> Any:
        if pgconn.transaction_status == pq.TransactionStatus.IDLE:
            pgconn.exec_(b"BEGIN")
        answers = talk(pgconn, batch, deadline)
        pgconn.exec_(b"COMMIT")
        return answers

    store._talk = talk_in_transaction
    pool = store._lender._pool

    def give_back(loan: Loan) -> None:
        pool._idle.append(loan.pgconn)
        pool.give_back(None)

    store._lender.give_back = give_back


@mutant(AsyncPostgresStore, "E4", "net-7", OPEN, says="of a session that is")
def reads_leave_a_transaction_open(store: Any) -> None:
    """A read begins a transaction that nobody ends: it freezes what later reads see."""
    talk = store._talk

    async def talk_in_transaction(pgconn: Any, batch: Any, deadline: float) -> Any:
        reads = b"history_v1" in batch[0].text
        if reads and pgconn.transaction_status == pq.TransactionStatus.IDLE:
            pgconn.exec_(b"BEGIN")
        return await talk(pgconn, batch, deadline)

    store._talk = talk_in_transaction

    async def give_back(loan: Loan) -> None:
        store._lender._pool._idle.append(loan.pgconn)
        store._lender._pool.give_back(None)

    store._lender.give_back = give_back


@mutant(RedisStore, "class: secrets in messages", "net-10", LOGIN, says="wrong password by url")
def errors_quote_the_password(store: Any) -> None:
    """An error tells with which URL it could not connect."""
    carry = store._carry
    secret = store._servers.settings.arguments.get("password")

    def quoting(call: Any, deadline: float) -> Any:
        try:
            return carry(call, deadline)
        except StoreUnavailable as error:
            raise StoreUnavailable(f"cannot connect with {secret}: {error}") from error

    store._carry = quoting
