"""Events that break the server: each happens once, for every contract that asks what it left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

import pytest

from contract_tests.first_calls import FirstCalls
from contract_tests.fix_cell import SEED
from contract_tests.fix_stores import Openings
from contract_tests.outage import Outage, break_under_load, load_seconds, open_all, times
from harness.attestation import attest
from harness.backends import Backend
from harness.faces import LoopThread
from harness.matrix import Cell, Store
from harness.servers import Server, let_happen
from harness.servers.topology import Topology

Outages = list[dict[str, Outage]]
"""What each time that an event happened left, by store."""
TAKEOVER_SECONDS = 5.0
"""The timeout of stores whose calls wait until another server has taken over, in one or two."""
FIRST_CALLS_AFTER = ("restart", "failover")


@dataclass(frozen=True)
class Breaker:
    """Breaks the server under the load of all stores, as often as an event's promise needs."""

    stack: ExitStack
    cell: Cell
    server: Server
    software: Backend
    rows: list[Store]
    openings: Openings
    loop: LoopThread
    seed: int
    done: dict[str, Outages | Exception] = field(default_factory=dict)

    def outages(self, event: str) -> Outages:
        """Return what an event left, which happens at the first time of asking."""
        if event not in self.done:
            try:
                self.done[event] = self._happenings(event)
            except Exception as error:  # noqa: BLE001 - raised below, for every contract
                self.done[event] = error
        found = self.done[event]
        if isinstance(found, Exception):
            raise found
        return found

    def _happenings(self, event: str) -> Outages:
        stopped = {} if event == "restart" else self.outages("restart")[0]
        outages = []
        for number in range(times(event, self.cell.promises[event])):
            outages.append(self._happening(event, number))
            for name, one in stopped.items():
                outages[-1][name].older_lost = one.gone()
        return outages

    def _happening(self, event: str, number: int) -> dict[str, Outage]:
        hasty = {"timeout": TAKEOVER_SECONDS} if event == "failover" else {}
        opened = self.openings(f"{event}-{number}", **hasty)
        stores = open_all(self.stack, opened, self.software, self.loop)
        first = None
        if event in FIRST_CALLS_AFTER:
            first = FirstCalls(self.stack, self.cell, self.rows, opened, stores, self.loop)
        happens, start = _course(event, self.server, first)
        attest(self.cell, self.software, self.server)  # a start undoes what was changed meanwhile
        seconds = load_seconds(self.cell.promises[event])
        goes_on = isinstance(self.server, Topology)
        outage = break_under_load(stores, happens, start, self.seed, seconds, goes_on=goes_on)
        for name, one in outage.items():
            one.first_calls = first.of(name) if first else {}
        return outage


@pytest.fixture(scope="session")
def breaker(
    pytestconfig: pytest.Config,
    openings: Openings,
    software: Backend,
    server: Server,
    store_rows: list[Store],
    cell: Cell,
    loop: LoopThread,
) -> Iterator[Breaker]:
    """What breaks the server, once an event."""
    with ExitStack() as stack:
        seed = pytestconfig.stash[SEED]
        yield Breaker(stack, cell, server, software, store_rows, openings, loop, seed)


@pytest.fixture
def outages(breaker: Breaker, event: str, store_row: Store) -> list[Outage]:
    """What each time that the event happened left of this store's sessions."""
    return [outage[store_row.name] for outage in breaker.outages(event)]


def _course(
    event: str, server: Server, first: FirstCalls | None
) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return how the event happens and what follows it, the first calls as soon as they can be.

    Stores of a group wait until another server has taken over, or one is back.
    """
    if not isinstance(server, Topology):
        return partial(let_happen, event, server), partial(_in_turn, server.start, first)
    if event == "failover":
        assert first is not None
        return partial(_in_turn, partial(server.fail_over, first.key), first), server.heal
    return partial(_come_back_from, event, server), partial(_in_turn, server.heal, first)


def _in_turn(act: Callable[[], None], first: FirstCalls | None) -> None:
    act()
    if first:
        first.make()


def _come_back_from(event: str, server: Topology) -> None:
    """Let an event happen to all servers of a group, and start them again."""
    let_happen(event, server)
    server.start()
