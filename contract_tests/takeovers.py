"""What the first calls come to once another server has taken over."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from contract_tests.calls import Outcome, attempt
from contract_tests.fix_stores import BY_URL
from contract_tests.parts import Stores, key_of, part_of, sessions_in
from harness.crowd import together
from harness.faces import LoopThread
from harness.matrix import Store
from harness.opening import Opening
from harness.servers.topology import Topology
from stores.interface import MemoryStore, Message

Job = tuple[str, str]
"""A store's name, and the way in which it was constructed."""


class Takeover:
    """Stores of every way to construct them, used before another server takes over, and after."""

    def __init__(
        self,
        stack: ExitStack,
        rows: Iterable[Store],
        openings: dict[str, Opening],
        stores: Stores,
        loop: LoopThread,
    ) -> None:
        self._key = key_of(stores)
        self._stores: dict[Job, tuple[MemoryStore, str]] = {}
        for row in rows:
            _, inspector = stores[row.name]
            for way, factory in {BY_URL: row.factory, **row.ways}.items():
                one = replace(openings[row.name], factory=factory)
                store = stack.enter_context(one.open(loop))
                [session_id] = sessions_in(inspector, part_of(stores), [f"used by {way}"])
                store.append_message(session_id, Message("user", "before"))
                self._stores[row.name, way] = store, session_id
        self.writes: dict[Job, Outcome] = {}

    def happen(self, server: Topology) -> None:
        """Let another server take over, and write with every store."""
        server.fail_over(self._key)
        message = Message("user", "after")
        jobs = [
            partial(attempt, store.append_message, session_id, message)
            for store, session_id in self._stores.values()
        ]
        self.writes = dict(zip(self._stores, together(jobs), strict=True))
