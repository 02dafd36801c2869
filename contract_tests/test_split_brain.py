"""top-1: a primary that is cut off from its group while clients still reach it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace

import pytest

from contract_tests.calls import Outcome, attempt
from contract_tests.fix_report import Measure
from contract_tests.fix_stores import Openings
from contract_tests.workload import turn
from harness.backends import Backend
from harness.contracts import contract, needs
from harness.faces import LoopThread
from harness.inspectors import Inspector, RawRecord
from harness.inspectors.through import inspector_of
from harness.matrix import Cell, Store
from harness.servers import Server
from harness.servers.topology import Topology
from stores.errors import StoreUnavailable
from stores.interface import MemoryStore, Message, StoredMessage

pytestmark = needs("split_brain", "history")

WRITES = 50
TIMEOUT = 3.0
HASTE = 1.0
"""Seconds: the timeout of a store that knows no other server."""
SESSION = "one"


@dataclass
class Split:
    """What one store went through, while there were two primaries."""

    store: MemoryStore
    """Knows the group, and was connected to the old primary before."""
    old: MemoryStore
    """Knows nobody but the old primary."""
    reader: MemoryStore
    """Knows the group, and had read from the old primary before."""
    inspector: Inspector
    before: list[StoredMessage]
    refused: list[Outcome] = field(default_factory=list)
    """Writes to the old primary while it was to have replicas."""
    followed: list[Outcome] = field(default_factory=list)
    """Writes of the store that knows the group, meanwhile."""
    acknowledged: list[tuple[int, StoredMessage]] = field(default_factory=list)
    """By the old primary, with the time.monotonic_ns() of it, when it was not."""
    healed_ns: int = 0
    survived: list[RawRecord] = field(default_factory=list)
    after: Outcome | None = None
    read: Outcome | None = None
    """What was read, after that, by a store that had only read before, while replicas lag."""


@pytest.fixture(scope="session")
def splits(
    openings: Openings, software: Backend, server: Server, loop: LoopThread
) -> Iterator[dict[str, Split]]:
    """Split the group once, with the stores of all adapters on both sides."""
    assert isinstance(server, Topology)
    with ExitStack() as ending:
        found: dict[str, Split] = {}
        opened = openings("split", timeout=TIMEOUT)
        for name, one in opened.items():
            inspector = ending.enter_context(closing(inspector_of(one, software, loop)))
            ending.callback(inspector.clear)
            store = ending.enter_context(one.open(loop))
            before = store.append_messages(SESSION, turn("before", 1, 3))
            reader = ending.enter_context(one.open(loop))
            assert reader.get_history(SESSION) == before
            found[name] = Split(store, store, reader, inspector, before)
        with server.split() as old_url:
            for name, split in found.items():
                alone = replace(opened[name], url=old_url, options={"timeout": HASTE})
                split.old = ending.enter_context(alone.open(loop))
            with server.requiring_replicas():
                for split in found.values():
                    _write_refused(split)
            for split in found.values():
                _write_in_vain(split)
            now = time.monotonic_ns()
        for split in found.values():
            split.healed_ns = now
            split.survived = split.inspector.messages(SESSION)
        with server.lagging():
            for split in found.values():
                split.after = attempt(split.store.append_message, SESSION, Message("user", "after"))
                split.read = attempt(split.reader.get_history, SESSION, 1)
        yield found


@pytest.fixture
def split(splits: dict[str, Split], store_row: Store) -> Split:
    """What this store went through."""
    return splits[store_row.name]


def _write_refused(split: Split) -> None:
    for number in range(3):
        message = turn("refused", number, 1)[0]
        split.refused.append(attempt(split.old.append_message, SESSION, message))
        followed = turn("followed", number, 1)[0]
        split.followed.append(attempt(split.store.append_message, SESSION, followed))
        if split.followed[-1].error:
            return  # what is wrong takes its timeout, each time


def _write_in_vain(split: Split) -> None:
    for number in range(WRITES):
        stored = split.old.append_message(SESSION, turn("alone", number, 1)[0])
        split.acknowledged.append((time.monotonic_ns(), stored))


@contract("top-1")
def test_a_primary_that_wants_replicas_refuses_when_it_is_alone(split: Split) -> None:
    """Cut off from its replicas, a primary that is to have some refuses writes, as not applied.

    Redis: min-replicas-to-write.
    """
    assert split.refused
    for outcome in split.refused:
        assert not outcome.fault(StoreUnavailable), outcome
    assert not [record for record in split.survived if "refused" in record.message_id]


@contract("top-1")
def test_a_store_leaves_a_primary_that_refuses_for_the_new_one(split: Split) -> None:
    """A store that knows the group goes to the new primary when the old one refuses its writes.

    Look for connections that are kept because the server behind them answers.
    """
    assert split.followed
    for outcome in split.followed:
        assert outcome.error is None, outcome
    ids = [record.message_id for record in split.survived]
    assert ids == [
        *(stored.id for stored in split.before),
        *(outcome.result.id for outcome in split.followed),
    ]


@contract("top-1")
def test_what_a_lonely_primary_acknowledged_is_lost_as_promised(
    split: Split, cell: Cell, measure: Measure
) -> None:
    """What a primary acknowledged while it was alone is lost as a whole, and measured.

    The age of the loss is as of the moment at which it met its group again.
    """
    promise = cell.promises["failover"]
    there = {record.message_id for record in split.survived}
    lost = [when for when, stored in split.acknowledged if stored.id not in there]
    seconds = (split.healed_ns - min(lost)) / 1e9 if lost else 0.0
    measure(
        "failover",
        happening="split brain",
        acknowledged=len(split.acknowledged),
        lost=len(lost),
        lost_seconds=round(seconds, 4),
    )
    assert len(lost) in {0, len(split.acknowledged)}, "a part of it is there"
    assert not promise.broken_by(len(lost), seconds), (
        f"{len(lost)} of {len(split.acknowledged)} messages, over {seconds:.3f} s; the row "
        f"promises {promise}"
    )


@contract("top-1")
def test_a_session_goes_on_after_a_split(split: Split) -> None:
    """After a split a session goes on behind what the new primary has."""
    assert split.after
    assert split.after.error is None
    assert split.after.result.position == len(split.survived) + 1


@contract("top-1")
@contract("top-3")
def test_who_only_reads_leaves_the_old_primary_too(split: Split) -> None:
    """A store that only reads does not go on reading from a primary that is a replica now.

    Nobody refuses its reads there. Look for connections that are made again to the address that
    was the primary's, without a question whether it still is.
    """
    assert split.after
    assert split.read
    assert split.read.error is None, split.read
    assert split.read.result == [split.after.result]
