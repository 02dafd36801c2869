"""conv: what may decide the order of messages (the server's positions), and what must not."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from threading import Thread
from zoneinfo import ZoneInfo

import pytest

from contract_tests.fix_stores import OpenStore
from harness.contracts import contract, needs
from harness.inspectors import Inspector
from harness.matrix import Store
from harness.polling import eventually
from harness.sameness import message_difference
from stores.interface import MemoryStore, Message, StoredMessage

pytestmark = needs("history")

SESSION = "a session"
BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2024, 10, 27, 0, 30, tzinfo=UTC)
"""Half past two in Berlin, in the night when that hour came twice."""
CLOCKS = {
    "equal timestamps": [NOW] * 8,
    "a clock 30 s behind": [
        NOW + timedelta(milliseconds=n) - timedelta(seconds=30 * (n % 2)) for n in range(8)
    ],
    "a clock that runs backwards": [NOW - timedelta(seconds=n) for n in range(8)],
    "other time zones": [
        (NOW + timedelta(seconds=n)).astimezone(timezone(timedelta(hours=(9, -11)[n % 2])))
        for n in range(8)
    ],
    "an hour that comes twice": [
        datetime(2024, 10, 27, 2, 10 * (n // 2), tzinfo=BERLIN, fold=1 - n % 2) for n in range(8)
    ],
}


@pytest.fixture
def in_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Let a test move this process to other time zones."""
    with monkeypatch.context() as patch:
        yield patch
    time.tzset()


@contract("conv-3")
def test_no_clients_clock_decides_the_order(
    open_store: OpenStore,
    inspector: Inspector,
    in_zone: pytest.MonkeyPatch,
    store_row: Store,
) -> None:
    """Equal client timestamps, a clock that is behind, another time zone or DST never reorder.

    Whether history is sorted by position, and both times keep their time zone.
    """
    stores: list[MemoryStore] = []
    for zone in ("Pacific/Kiritimati", "America/St_Johns"):
        in_zone.setenv("TZ", zone)
        time.tzset()
        stores.append(open_store(url=inspector.url_in_zone(zone)))
        stores[-1].ping()
    for clock, moments in CLOCKS.items():
        said = [Message("user", f"{n}", created_at=at) for n, at in enumerate(moments)]
        stored = [
            stores[number % 2].append_message(clock, message) for number, message in enumerate(said)
        ]
        assert [message.position for message in stored] == list(range(1, len(said) + 1)), clock
        for reader in stores:
            history = reader.get_history(clock)
            assert history == stored, clock
            for got, wanted in zip(history, said, strict=True):
                assert message_difference(got, wanted) is None, clock
        if "server_times" in store_row.lacks:
            continue
        times = [message.stored_at for message in stored]
        assert times == sorted(times)
        assert {at.utcoffset() for at in times} == {timedelta(0)}
        assert abs(times[-1] - datetime.now(UTC)) < timedelta(hours=1), "stored_at is elsewhere"


@contract("conv-4")
@needs("raw_records", "open_transactions")
def test_a_late_commit_never_appears_before_a_message_already_read(
    store: MemoryStore, open_store: OpenStore, inspector: Inspector
) -> None:
    """Order is that of acknowledgement: a late commit never comes before a message already read.

    Whether positions are given under the session's lock, rather than by a sequence.
    """
    first = store.append_message(SESSION, Message("user", "first"))
    slow = inspector.messages(SESSION)[0].record
    writer, written = open_store(), []
    later = Thread(
        target=lambda: written.append(writer.append_message(SESSION, Message("user", "later"))),
        daemon=True,
    )
    seen: list[list[StoredMessage]] = []
    with inspector.uncommitted_append(SESSION, slow):
        before = inspector.open_transactions()
        later.start()
        begun = eventually(lambda: written or inspector.open_transactions() > before, within=5)
        assert begun, "the later append did not begin"
        # Time enough for a later append to be acknowledged, if nothing holds it up.
        end = time.monotonic() + 0.05
        while time.monotonic() < end and len(seen) < 50:
            seen.append(store.get_history(SESSION))
            later.join(0.002)
    later.join(5)
    assert written, "the later append did not end after the slow one had"

    history = store.get_history(SESSION)
    assert [message.position for message in history] == [1, 2, 3]
    assert history[0] == first
    for read in seen:
        assert read == history[: len(read)], "a message appeared before one that was read already"
    assert written[0] in history


@contract("conv-9")
def test_order_does_not_depend_on_the_servers_hashing(
    store: MemoryStore, rng: random.Random
) -> None:
    """200 messages of 100 bytes come back in order, however the server lays them out.

    Whether reading asks for positions or sorts, rather than trusting a hash or a table's order.
    """
    said = [Message("user", rng.randbytes(50).hex(), id=rng.randbytes(8).hex()) for _ in range(200)]
    for first in range(0, len(said), 50):
        store.append_messages(SESSION, said[first : first + 50])
    everything = store.get_history(SESSION, None)
    assert [message.message for message in everything] == said
    assert store.get_history(SESSION, 150, before=180) == everything[29:179]
