"""dur: a log whose last bytes are missing."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from contract_tests.fix_cell import SEED
from contract_tests.fix_histories import Judge
from contract_tests.fix_stores import Openings
from contract_tests.outage import Outage, break_under_load, open_all
from harness.backends import Backend
from harness.contracts import contract, needs
from harness.faces import LoopThread
from harness.faults.truncation import cut_tail
from harness.matrix import Store
from harness.servers import OneServer

pytestmark = needs("log_tail", "kill", "history", "context", "ttl", "lock")

MOST_BYTES = 20_000
"""Some 30 writes. The cut may be anywhere: between two writes, or within a length or a value."""
LEAST = 200
"""Acknowledged messages of each store before it: what is cut off leaves most of them."""


@pytest.fixture(scope="session")
def truncated(
    pytestconfig: pytest.Config,
    openings: Openings,
    software: Backend,
    one_server: OneServer,
    loop: LoopThread,
) -> Iterator[dict[str, Outage]]:
    """Kill the server under the load of all stores, cut its log's end off, and start it."""
    seed = pytestconfig.stash[SEED]
    count = random.Random(f"{seed}:truncation").randint(1, MOST_BYTES)

    def happen() -> None:
        one_server.kill()
        assert cut_tail(software.log(one_server.data), count)

    with ExitStack() as stack:
        stores = open_all(stack, openings("truncated"), software, loop)
        yield break_under_load(stores, happen, one_server.start, seed, least=LEAST)


@pytest.fixture
def outage(truncated: dict[str, Outage], store_row: Store) -> Outage:
    """What the cut left of this store's sessions."""
    return truncated[store_row.name]


@contract("dur-4")
def test_a_log_without_its_end_gives_a_prefix(outage: Outage, judge: Judge) -> None:
    """A log without its last bytes gives a prefix of what was written: no gap, nothing torn.

    Look for one write of the store that is several writes of the server.
    """
    for session_id, life in outage.lives.items():
        positions = [record.position for record in life.survived]
        assert positions == [*range(1, len(positions) + 1)], session_id
        judge(life.history)


@contract("dur-4")
def test_after_a_log_without_its_end_the_store_goes_on(outage: Outage) -> None:
    """What is left is read, its message ids are known, and positions and tokens go on.

    Look for a counter or an id that lies elsewhere than the message it is for.
    """
    assert outage.first_call is None
    for session_id, life in outage.lives.items():
        kept = [record.message_id for record in life.survived]
        assert [read.id for read, _ in life.repeated] == kept[-3:], session_id
        assert all(again == read for read, again in life.repeated), session_id
        assert life.next_position == len(kept) + 1, session_id
    assert outage.next_token > outage.token
    assert outage.old_token_refused
