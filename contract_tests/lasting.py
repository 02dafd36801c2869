"""Lifetimes across an outage: for ever, one that was set, and one that runs out meanwhile."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from contract_tests.lifetimes import Span, expiry
from harness.inspectors import Inspector
from stores.interface import MemoryStore, Message

Lifetime = tuple[float | None, Span]
"""Seconds from a moment on; None for ever."""
FOR_EVER, ITS_OWN, OUTLIVED = "for ever", "its own", "outlived"
OWN_SECONDS = 500.0
OUTLIVED_SECONDS = 0.150
"""A TTL that runs out while the server is down."""


@dataclass(repr=False)
class Lasting:
    """Sessions of one store whose lifetimes were changed before an outage, and what is left."""

    store: MemoryStore
    inspector: Inspector
    ttl: float
    """Of the store, in seconds."""
    given: dict[str, list[Lifetime]] = field(default_factory=dict)
    """The lifetimes that each session was given, one after the other."""
    ends: dict[str, Span | None] = field(default_factory=dict)
    """When each that is left, and has not expired yet, will expire."""
    listed: set[str] = field(default_factory=set)
    first_position: int = 0
    """Of the first message after the outage in the session whose lifetime ran out."""

    def begin(self) -> None:
        """Write sessions that last."""
        self._give(FOR_EVER, None)
        self._give(ITS_OWN, OWN_SECONDS)

    def outlive(self) -> None:
        """Write the session whose lifetime is to run out, just before the outage."""
        self._give(OUTLIVED, OUTLIVED_SECONDS)

    def wait(self) -> None:
        """Wait until that lifetime has run out."""
        if OUTLIVED in self.given:
            _, last = self.given[OUTLIVED][-1]
            time.sleep(max(0.0, last.end + OUTLIVED_SECONDS - time.monotonic()))

    def look(self) -> None:
        """Note what is left."""
        for name in self.given:
            with suppress(KeyError):
                ends = expiry(self.inspector, name)
                if ends is None or ends.end > time.monotonic():
                    self.ends[name] = ends
        self.listed = set(self.store.iter_sessions()) & set(self.given)
        self.first_position = self.store.append_message(OUTLIVED, Message("user", "new")).position

    def _give(self, name: str, seconds: float | None) -> None:
        message = Message("user", "old")
        written = Span.of(partial(self.store.append_message, name, message))
        self.given[name] = [
            (self.ttl, written),
            (seconds, Span.of(partial(self.store.set_ttl, name, seconds))),
        ]
