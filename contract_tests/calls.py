"""Every call of the interface, and what becomes of one on a broken network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any

from harness.matrix import Store
from harness.polling import POLL_SECONDS
from stores.errors import OutcomeUnknown, StoreError, StoreUnavailable
from stores.interface import FEATURES, MemoryStore, Message

LATE = 0.3
"""Seconds by which a call may be late where a hundred of them end at once, beside the stalls."""
LONGEST_OUTAGE = 10.0
"""Seconds after which a server that is there is taken to be out of reach for good."""
LONGEST_PAUSE = 0.3
"""Seconds between two tries to reach it, after shorter ones."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the interface, on a session; ``feature`` is the part of the interface."""

    feature: str
    make: Callable[[MemoryStore, str], object]


def _turn() -> list[Message]:
    return [Message("user", "hi"), Message("assistant", "hello")]


def _hold(store: MemoryStore, session_id: str) -> None:
    with store.lock(session_id, lease=5, wait=0):
        pass


EVERY_CALL: Mapping[str, Call] = {
    "append_message": Call("history", lambda store, one: store.append_message(one, _turn()[0])),
    "append_messages": Call("history", lambda store, one: store.append_messages(one, _turn())),
    "get_history": Call("history", lambda store, one: store.get_history(one)),
    "save_context": Call("context", lambda store, one: store.save_context(one, {"n": 1})),
    "load_context": Call("context", lambda store, one: store.load_context(one)),
    "update_context": Call("context", lambda store, one: store.update_context(one, dict)),
    "load_session": Call("history", lambda store, one: store.load_session(one)),
    "delete_session": Call("sessions", lambda store, one: store.delete_session(one)),
    "iter_sessions": Call("sessions", lambda store, _: list(store.iter_sessions())),
    "set_ttl": Call("ttl", lambda store, one: store.set_ttl(one, 3600)),
    "get_ttl": Call("ttl", lambda store, one: store.get_ttl(one)),
    "lock": Call("lock", _hold),
    "ping": Call("", lambda store, _: store.ping()),
}

READS = {"get_history", "load_context", "load_session", "iter_sessions", "get_ttl"}
"""The calls that change nothing, whatever they find."""


def calls_of(row: Store) -> dict[str, Call]:
    """Return the calls that the store offers."""
    offered = {"", *(FEATURES if row.features is None else row.features)}
    return {name: call for name, call in EVERY_CALL.items() if call.feature in offered}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a call: its result or its error, and after how many seconds."""

    result: Any
    error: Exception | None
    seconds: float

    def fault(self, expected: type[StoreError] | tuple[type[StoreError], ...]) -> str | None:
        """Return what is wrong with it, if it should have failed so."""
        if self.error is None:
            return f"answered {self.result!r}"
        return None if isinstance(self.error, expected) else f"raised {self.error!r}"

    @property
    def unknown(self) -> bool:
        """Whether the store could not tell."""
        return isinstance(self.error, OutcomeUnknown)


def attempt(call: Callable[..., object], *arguments: object) -> Outcome:
    """Make a call, and return what became of it; whatever it raises is for the test to judge."""
    start = monotonic()
    try:
        result = call(*arguments)
    except Exception as error:  # noqa: BLE001 - a driver's exception would be the finding
        return Outcome(None, error, monotonic() - start)
    return Outcome(result, None, monotonic() - start)


def answer(
    call: Callable[..., object], *arguments: object, until: Callable[[], bool] = lambda: False
) -> Outcome:
    """Make a call until the server is reached: a busy machine may connect too late at first.

    It is not made again once ``until`` holds. The pauses between grow, or a crowd of callers
    would be what keeps the machine too busy.
    """
    outcome = attempt(call, *arguments)
    give_up, pause = monotonic() + LONGEST_OUTAGE, POLL_SECONDS
    while isinstance(outcome.error, StoreUnavailable) and monotonic() < give_up and not until():
        sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
        outcome = attempt(call, *arguments)
    return outcome
