"""What a contract did: every call of its stores, for the message of a failure."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Self, cast

from stores.interface import MemoryStore

KEPT = 12
SPANS_KEPT = 300
LONGEST = 160


class Span(NamedTuple):
    """When a call was under way, in `time.monotonic_ns()`, and in which thread."""

    worker: str
    name: str
    invoked: int
    completed: int
    error: str


@dataclass(frozen=True, slots=True)
class _Call:
    """One call and what came of it, turned into text only when a failure is shown."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outcome: object
    milliseconds: float

    def __str__(self) -> str:
        words = [short(arg) for arg in self.args]
        words += [f"{key}={short(value)}" for key, value in self.kwargs.items()]
        became = "raised" if isinstance(self.outcome, BaseException) else "->"
        return (
            f"{self.name}({', '.join(words)}) {became} {short(self.outcome)} "
            f"in {self.milliseconds:.1f} ms"
        )


class Recording:
    """The last calls of one test, on all of its stores."""

    def __init__(self) -> None:
        self._calls: deque[_Call] = deque(maxlen=KEPT)
        self._spans: deque[Span] = deque(maxlen=SPANS_KEPT)
        self._count = 0

    def note(self, call: _Call, start: int, end: int) -> None:
        """Keep one call of this thread."""
        self._count += 1
        self._calls.append(call)
        failed = isinstance(call.outcome, BaseException)
        error = type(call.outcome).__name__ if failed else ""
        worker = threading.current_thread().name
        self._spans.append(Span(worker, call.name, start, end, error))

    @property
    def at_once(self) -> list[Span]:
        """The last calls, where several threads made them; empty where one did."""
        spans = list(self._spans)
        return spans if len({span.worker for span in spans}) > 1 else []

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
        def noted(*args: Any, **kwargs: Any) -> Any:
            start = time.monotonic_ns()
            outcome: object = None
            try:
                outcome = method(*args, **kwargs)
            except BaseException as error:
                outcome = error
                raise
            finally:
                end = time.monotonic_ns()
                call = _Call(name, args, kwargs, outcome, (end - start) / 1e6)
                self._recording.note(call, start, end)
            return outcome

        return noted


def short(value: object, longest: int = LONGEST) -> str:
    """Return a value's repr, cut to a length that a message can bear."""
    try:
        text = repr(value)
    except Exception as error:  # noqa: BLE001 - contracts pass what has no text, such as 10**5000
        text = f"<a {type(value).__name__} that has no repr: {error}>"
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text)} characters)"
