"""Operations in progress, recorded by many threads at once."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Generic, Self, TypeVar

from harness.histories.verdict import Operation, Outcome

Clock = Callable[[], int]
Errors = tuple[type[BaseException], ...]
Op = TypeVar("Op", bound=Operation)


class Ledger(Generic[Op]):
    """The operations of one history, safe to write from many threads, closed by the final read."""

    def __init__(self, clock: Clock = time.monotonic_ns) -> None:
        self.now = clock
        self._lock = threading.Lock()
        self._operations: list[Op] = []
        self._closed = False

    def add(self, operation: Op) -> int:
        """Write one operation down and return its number."""
        with self._lock:
            self._refuse_if_closed(operation)
            self._operations.append(operation)
            return len(self._operations) - 1

    def amend(self, number: int, operation: Op) -> None:
        """Write down what is now known of it."""
        with self._lock:
            self._refuse_if_closed(operation)
            self._operations[number] = operation

    def close(self) -> None:
        """Refuse whatever comes later: the final read has been made without it."""
        with self._lock:
            self._closed = True

    @property
    def operations(self) -> tuple[Op, ...]:
        """All operations, in order of invocation."""
        with self._lock:
            return tuple(sorted(self._operations, key=lambda operation: operation.invoked))

    def _refuse_if_closed(self, operation: Op) -> None:
        if self._closed:
            raise RuntimeError(f"the final read has ended this history, too late for {operation}")


class Call(Generic[Op]):
    """An operation that was invoked: say once what came of it, or let the `with` block say it.

    As a context manager it turns the errors that the history was told of into the verdicts `failed`
    and `unknown` and goes on. Any other exception is recorded as unknown and raised.
    """

    def __init__(
        self, ledger: Ledger[Op], operation: Op, *, failed: Errors = (), unknown: Errors = ()
    ) -> None:
        self._ledger = ledger
        self._operation = operation
        self._failed = failed
        self._unknown = unknown
        self._number = ledger.add(operation)

    @property
    def operation(self) -> Op:
        """What is known of it so far."""
        return self._operation

    def failed(self, error: BaseException | str) -> None:
        """It was certainly not applied."""
        self._complete(Outcome.FAILED, error)

    def unknown(self, error: BaseException | str) -> None:
        """It may have been applied, or may still be."""
        self._complete(Outcome.UNKNOWN, error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if self._operation.completed is not None:
            return False
        if error is None:
            raise RuntimeError(f"the block ended without a verdict on {self._operation}")
        expected = isinstance(error, self._failed + self._unknown)
        if expected and not isinstance(error, self._unknown):
            self.failed(error)
        else:
            self.unknown(error)
        return expected

    def _complete(self, outcome: Outcome, error: BaseException | str) -> None:
        text = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
        now = self._ledger.now()
        self._amend(replace(self._open(), completed=now, outcome=outcome, error=text))

    def _open(self) -> Op:
        if self._operation.completed is not None:
            raise RuntimeError(f"this operation has its verdict already: {self._operation}")
        return self._operation

    def _amend(self, operation: Op) -> None:
        self._ledger.amend(self._number, operation)
        self._operation = operation
