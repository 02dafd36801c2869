"""net: how a store treats its connections: broken ones, used up ones, refused ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from urllib.parse import unquote, urlsplit

import pytest

from contract_tests.calls import LATE, Outcome, answer, attempt, calls_of
from contract_tests.fix_faults import Proxied
from contract_tests.fix_stores import BY_URL, OpenStore
from contract_tests.workload import turn
from harness.contracts import contract, needs
from harness.crowd import together
from harness.faults import TransactionPooling
from harness.inspectors import Inspector
from harness.matrix import Store
from harness.polling import eventually
from harness.servers import Server
from harness.stalls import stalls
from stores.errors import StoreError, StoreUnavailable
from stores.interface import MemoryStore, Message

pytestmark = needs("network")

LOGIN = 4
"""Of how many short timeouts the timeout of logins is: a connect takes a quarter, TLS too."""
CONNECTIONS = 2
THREADS = 3 * CONNECTIONS
"""Of each store: a pool without a limit opens a connection for each."""
OPERATIONS, FAILURES = 300, 50


@contract("net-7")
@needs("open_transactions", "own_connections")
def test_no_call_leaves_a_transaction_open(
    open_store: OpenStore, ways: list[str], store_row: Store, inspector: Inspector
) -> None:
    """No transaction stays open after any call, reads and refused ones included.

    An open one holds back vacuum, keeps its locks, and freezes what later calls may see. Look
    for reads outside autocommit, and for errors after which nobody rolls back.
    """
    for way in ways:
        store = open_store(way=way)
        for name, call in calls_of(store_row).items():
            for session_id in ("there", "absent"):
                attempt(call.make, store, session_id)
                ended = eventually(lambda: inspector.open_transactions() == 0, within=0.5)
                assert ended, f"{name} by {way} of a session that is {session_id}"
        store.append_message("there", Message("user", "hi"))
        if "iter_sessions" not in calls_of(store_row):
            continue
        listing = store.iter_sessions()
        next(listing)
        ended = eventually(lambda: inspector.open_transactions() == 0, within=0.5)
        assert ended, f"a listing by {way} that goes on"
        list(listing)


@contract("net-8")
@needs("pool_limits")
def test_an_exhausted_pool_is_an_error_in_time_and_recovers(
    new_proxied: Callable[[], Proxied], open_store: OpenStore, ways: list[str], timeout: float
) -> None:
    """While all connections are in use a call is refused in time, and afterwards all work again.

    Look for waiting without a limit, for timeouts that begin only after the waiting, and for
    connections that are not given back after errors.
    """

    def exhaust(way: str) -> tuple[list[Outcome], list[Outcome]]:
        proxy, url = new_proxied()
        store = open_store(way=way, url=url, timeout=timeout, max_connections=CONNECTIONS)
        answer(store.ping)
        with proxy.delay(0.75 * timeout):
            during = together([partial(attempt, store.ping)] * (6 * CONNECTIONS))
        return during, together([partial(answer, store.ping)] * (2 * CONNECTIONS))

    with stalls() as stalled:
        exhausted = together([partial(exhaust, way) for way in ways])
    for way, (during, after) in zip(ways, exhausted, strict=True):
        refused = [outcome for outcome in during if outcome.error]
        assert refused, f"by {way}: {CONNECTIONS} connections served {len(during)} calls"
        for outcome in refused:
            assert not outcome.fault(StoreUnavailable), f"by {way}: {outcome}"
        slowest = max(outcome.seconds for outcome in during)
        limit = timeout + LATE + stalled.seconds
        assert slowest < limit, f"by {way}: the timeout is {timeout:.2f} s ({stalled})"
        assert not [outcome for outcome in after if outcome.error], way


@contract("net-8")
@needs("connections", "pool_limits")
def test_neither_use_nor_failures_nor_closing_leak_connections(
    proxied: Proxied,
    open_store: OpenStore,
    ways: list[str],
    inspector: Inspector,
    timeout: float,
) -> None:
    """300 calls and 50 failures leave no more connections than allowed, and close() leaves none.

    Shared by all ways to construct the store, and counted by the server. Look for errors after
    which a connection is neither given back nor closed.
    """
    before = inspector.clients()

    def more() -> int:
        """Count the new connections, at the server that has got most."""
        counts = zip(inspector.clients(), before, strict=True)
        return max(now - then for now, then in counts)

    stores = [
        open_store(way=way, url=proxied.url, timeout=timeout, max_connections=CONNECTIONS)
        for way in ways
    ]
    for store in stores:
        for _ in range(CONNECTIONS + 1):  # so that none is left where each of them is lost
            works = answer(store.ping)
            assert works.error is None, f"after replies that broke off: {works}"
            with proxied.proxy.half_reply("reset"):
                attempt(store.ping)
    with proxied.proxy.reset():
        failed = together([partial(attempt, stores[n % len(stores)].ping) for n in range(FAILURES)])
    assert all(outcome.error for outcome in failed)

    def use(store: MemoryStore) -> Exception | None:
        """Make so many calls, or as many as work."""
        used = (answer(store.ping) for _ in range(OPERATIONS // THREADS // len(stores)))
        return next((outcome.error for outcome in used if outcome.error), None)

    errors = together([partial(use, store) for store in stores for _ in range(THREADS)])
    assert not any(errors), f"after connections that were reset: {errors}"
    most = CONNECTIONS * len(stores)
    assert eventually(lambda: more() <= most), "more than max_connections"
    for store in stores:
        store.close()
    assert eventually(lambda: more() <= 0), "close() has left some"


@contract("net-9")
@needs("raw_records", "history", "context", "forgetting")
def test_calls_work_on_when_what_was_prepared_is_gone(
    open_store: OpenStore, ways: list[str], inspector: Inspector
) -> None:
    """Prepared statements and scripts survive ALTER TABLE, and a server that has forgotten them.

    Look for statements prepared once and taken to be valid for ever.
    """
    stores = {way: open_store(way=way, max_connections=1) for way in ways}

    def use(moment: str) -> None:
        for way, store in stores.items():
            for _ in range(6):  # the driver prepares what it has sent five times
                store.append_messages(way, turn(moment, 1, 2))
            assert store.get_history(way, 2)[0].content == f"{moment} said 1.1", way
            store.save_context(way, {moment: 1})
            assert store.load_session(way, 0) is not None

    use("before")
    with inspector.redefined():
        use("redefined")
    use("after")


@contract("net-9")
@needs("history", "context", "lock", "poolers")
def test_calls_work_through_a_proxy_that_pools_transactions(
    proxied: Proxied, open_store: OpenStore, ways: list[str]
) -> None:
    """A proxy that gives each transaction another server connection changes no answer.

    Look for prepared statements, settings, temporary tables and locks that belong to a server
    connection and are counted on in the next transaction.
    """
    with proxied.proxy.apply(TransactionPooling):
        for way in ways:
            store = open_store(way=way, url=proxied.url, max_connections=1)
            for number in range(1, 8):
                stored = store.append_message(way, Message("user", f"{number}"))
                assert stored.position == number, way
                store.save_context(way, {"n": number})
                assert store.update_context(way, dict).value == {"n": number}, way
            with store.lock(way, lease=5, wait=0) as lease:
                store.append_message(way, Message("user", "locked"), fence=lease.token)
                lease.renew()
            assert len(store.get_history(way)) == 8, way


@contract("net-10")
@needs("accounts", "own_connections")
def test_a_refused_login_is_a_clear_error_without_the_password(
    open_store: OpenStore, ways: list[str], inspector: Inspector, timeout: float
) -> None:
    """A wrong password or database, or TLS refused, is a clear error in time, without passwords.

    Neither in its text nor in any error that it is chained from. Look for errors that quote a
    URL, and for logins that a pool goes on trying instead of saying so.
    """
    urls = inspector.refused_urls()
    secrets = {unquote(urlsplit(url).password or "") for url in urls.values()}
    stores = {
        (wrong, way): open_store(way=way, url=url, timeout=LOGIN * timeout)
        for wrong, url in urls.items()
        for way in ways
        if wrong != "no TLS" or way == BY_URL
    }
    # Preparing for TLS keeps a busy machine from doing anything else in time: once, and alone.
    plain = [job for job in stores if job[0] != "no TLS"]
    with stalls() as stalled:
        logins = together([partial(login, stores[job]) for job in plain])
        outcomes = dict(zip(plain, logins, strict=True))
        outcomes["no TLS", BY_URL] = login(stores["no TLS", BY_URL])
    for (wrong, way), outcome in outcomes.items():
        assert not outcome.fault(StoreUnavailable), f"{wrong} by {way}: {outcome}"
        limit = LOGIN * timeout + LATE + stalled.seconds
        assert outcome.seconds < limit, f"{wrong} by {way}: {outcome} ({stalled})"
        assert outcome.error
        for text in said(outcome.error):
            assert not [secret for secret in secrets if secret in text], f"{wrong} by {way}"
    by_url = [stores[wrong, BY_URL] for wrong in urls]
    texts = {str(outcome.error) for job, outcome in outcomes.items() if BY_URL in job}

    def told_apart() -> bool:
        texts.clear()  # a busy machine may have had no time for any of the answers
        texts.update(str(login(store).error) for store in by_url)
        return len(texts) == len(urls)

    assert len(texts) == len(urls) or eventually(told_apart), (
        f"the same words for different faults: {texts}"
    )


def login(store: MemoryStore) -> Outcome:
    """Make a first call."""
    return attempt(store.get_history, "a session")


def said(error: BaseException) -> Iterator[str]:
    """Yield all that an error and those that it came from tell."""
    seen: list[BaseException] = []
    unseen: list[BaseException | None] = [error]
    while unseen:
        one = unseen.pop()
        if one is not None and one not in seen:
            seen.append(one)
            unseen += [one.__cause__, one.__context__]
            yield from (str(one), repr(one), *getattr(one, "__notes__", ()), *map(repr, one.args))


@contract("net-10")
@needs("own_connections")
@pytest.mark.parametrize("secret", ["half/left", "half#left", "half?left", "half@left", "12/left"])
def test_a_url_with_a_raw_password_is_refused_without_it(
    open_store: OpenStore, server: Server, timeout: float, secret: str
) -> None:
    """A URL whose password is not percent-encoded works, or is refused without a part of it.

    Look for messages that quote what was taken for a host, a port or a database.
    """
    parts = urlsplit(server.url)
    url = f"{parts.scheme}://{parts.username or ''}:{secret}@127.0.0.1:1{parts.path}"

    def call() -> None:
        open_store(url=url, timeout=timeout).ping()

    error = attempt(call).error
    assert isinstance(error, ValueError | StoreError), repr(error)
    for text in said(error):
        assert "half" not in text, text
        assert "left" not in text, text
