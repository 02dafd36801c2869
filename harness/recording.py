"""What a contract did: every call of its stores, for the message of a failure."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self, cast

from stores.interface import MemoryStore

KEPT = 12
LONGEST = 160


@dataclass(frozen=True, slots=True)
class _Call:
    """One call and what came of it, turned into text only when a failure is shown."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outcome: object
    milliseconds: float

    def __str__(self) -> str:
        words = [_short(arg) for arg in self.args]
        words += [f"{key}={_short(value)}" for key, value in self.kwargs.items()]
        became = "raised" if isinstance(self.outcome, BaseException) else "->"
        return (
            f"{self.name}({', '.join(words)}) {became} {_short(self.outcome)} "
            f"in {self.milliseconds:.1f} ms"
        )


class Recording:
    """The last calls of one test, on all of its stores."""

    def __init__(self) -> None:
        self._calls: deque[_Call] = deque(maxlen=KEPT)
        self._count = 0

    def note(self, call: _Call) -> None:
        """Keep one call."""
        self._count += 1
        self._calls.append(call)

    def lines(self) -> list[str]:
        """Return the calls in the order in which they ended; of many, only the last."""
        left_out = self._count - len(self._calls)
        return [f"({left_out} earlier calls)"] * bool(left_out) + [str(c) for c in self._calls]

    def of(self, store: MemoryStore) -> MemoryStore:
        """Return the store, noting each call and what came of it."""
        return cast("MemoryStore", _Recorded(store, self))


class _Recorded:
    def __init__(self, store: MemoryStore, recording: Recording) -> None:
        self._store = store
        self._recording = recording

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._store, name)
        return self._noting(name, value) if callable(value) else value

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._store.close()

    def _noting(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            outcome: object = None
            try:
                outcome = method(*args, **kwargs)
            except BaseException as error:
                outcome = error
                raise
            finally:
                took = (time.perf_counter() - start) * 1000
                self._recording.note(_Call(name, args, kwargs, outcome, took))
            return outcome

        return call


def _short(value: object) -> str:
    try:
        text = repr(value)
    except Exception as error:  # noqa: BLE001 - contracts pass what has no text, such as 10**5000
        text = f"<a {type(value).__name__} that has no repr: {error}>"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text)} characters)"
