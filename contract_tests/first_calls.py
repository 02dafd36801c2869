"""The very next calls after an event, by stores of every way to construct them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from contract_tests.calls import Outcome, attempt
from contract_tests.fix_stores import BY_URL
from contract_tests.parts import Stores, key_of, part_of, sessions_in
from contract_tests.workload import turn
from harness.crowd import together
from harness.faces import LoopThread
from harness.matrix import Cell, Store
from harness.opening import Opening
from stores.interface import MemoryStore, Message

Job = tuple[str, str]
"""A store's name, and the way in which it was constructed."""
CONNECTIONS = 2


class FirstCalls:
    """Stores of every way to construct them, used before an event, and at once after it."""

    def __init__(
        self,
        stack: ExitStack,
        cell: Cell,
        rows: Iterable[Store],
        openings: dict[str, Opening],
        stores: Stores,
        loop: LoopThread,
    ) -> None:
        self.key = key_of(stores)
        """Of all their sessions, which one server has."""
        self._stores: dict[Job, tuple[MemoryStore, str]] = {}
        for row in rows:
            _, inspector = stores[row.name]
            options = {**openings[row.name].options, "max_connections": CONNECTIONS}
            for way, factory in {BY_URL: row.factory, **row.ways_in(cell)}.items():
                one = replace(openings[row.name], factory=factory, options=options)
                store = stack.enter_context(one.open(loop))
                [session_id] = sessions_in(inspector, part_of(stores), [f"used by {way}"])
                store.append_message(session_id, Message("user", "before"))
                together([store.ping] * CONNECTIONS)
                self._stores[row.name, way] = store, session_id
        self._outcomes: dict[Job, Outcome] = {}

    def make(self) -> None:
        """Write and read with every store."""
        jobs = [partial(write_and_read, *one) for one in self._stores.values()]
        self._outcomes = dict(zip(self._stores, together(jobs), strict=True))

    def of(self, store: str) -> dict[str, Outcome]:
        """Return what came of a store's calls, by the way in which it was constructed."""
        return {way: one for (name, way), one in self._outcomes.items() if name == store}


def write_and_read(store: MemoryStore, session_id: str) -> Outcome:
    """Make the very next calls; return what came of the one that failed, or of the last."""
    sent = turn("after", 1, 2)
    written = attempt(store.append_messages, session_id, sent)
    if written.error is not None:
        return written
    read = attempt(store.get_history, session_id, 2)
    if read.error is None:
        assert [one.message for one in read.result] == sent, f"{session_id}: another's reply"
    return read
