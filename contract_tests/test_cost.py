"""conv: what a call costs the server, however long the session's history is."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from contract_tests.fix_planted import LONG, SHORT, Planted
from contract_tests.fix_stores import OpenStore
from harness.contracts import contract, needs
from stores.interface import MemoryStore, Message

pytestmark = needs("history", "work_counters")

TRIES = 5
"""A sweeper is counted in one of 25 tries or less: about once a second, in blocks of 40 ms."""


def append(store: MemoryStore, session_id: str) -> None:
    """Append one message."""
    store.append_message(session_id, Message("user", "one more"))


def read(store: MemoryStore, session_id: str) -> None:
    """Read the newest messages, and as many in the middle."""
    assert len(store.get_history(session_id, 5)) == 5
    assert len(store.get_history(session_id, 5, before=int(session_id) // 2 + 1)) == 5


@contract("conv-10")
@pytest.mark.parametrize("call", [append, read], ids=["append", "read"])
@needs("raw_records")
def test_a_long_history_costs_no_more(
    planted: Planted,
    open_store: OpenStore,
    call: Callable[[MemoryStore, str], None],
) -> None:
    """Appending and reading the newest n costs the same at 10 and at 100 000 messages.

    Which rows, pages or fields are touched beyond those asked for: a count(*), an OFFSET,
    a whole hash or list.
    """

    def touched(count: int) -> int:
        with planted.inspector.watching() as work:
            # What a server counted is told when its clients have gone.
            store = open_store(namespace=planted.namespace)
            call(store, f"{count}")
            store.close()
        return work.touched

    short = touched(SHORT)
    assert short >= 5, f"the server counted {short}: too little to judge"
    # A sweeper and the server's own upkeep can only add to a count: of some, the least is true.
    long = [touched(LONG)]
    # Thrice, because a tree of 100 000 rows is a page or two deeper than one of 10, in each table.
    while min(long) > 3 * short and len(long) < TRIES:
        long.append(touched(LONG))
    assert min(long) <= 3 * short, f"touched {short} of {SHORT} messages, and {long} of {LONG}"
