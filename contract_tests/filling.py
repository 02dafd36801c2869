"""Writing until the server is full."""

from __future__ import annotations

from dataclasses import dataclass, field

from contract_tests.calls import Outcome, attempt
from harness.histories import Loss, check_loss
from harness.inspectors import Inspector
from stores.errors import StoreError
from stores.interface import MemoryStore, Message

KILOBYTE = 1024
MEGABYTE = 1024**2
SESSION = "a long session"


@dataclass
class Filling:
    """What became of messages that were appended to a session until the server was full."""

    acknowledged: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    wrong: list[Outcome] = field(default_factory=list)
    """What was neither acknowledged nor an error of the store's."""
    errors: set[type[Exception]] = field(default_factory=set)

    def loss(self, inspector: Inspector) -> Loss:
        """Compare with what is there."""
        survived = [record.message_id for record in inspector.messages(SESSION)]
        return check_loss(self.acknowledged, survived, unknown=self.unknown)

    def stored_though_refused(self, inspector: Inspector) -> set[str]:
        """Return the ids that are there, though the store said that they are not."""
        there = {record.message_id for record in inspector.messages(SESSION)}
        return there.intersection(self.refused)


def fill(store: MemoryStore, size: int, most: int, refusals: int = 1) -> Filling:
    """Append messages of so many bytes, until some are refused; at most so many of them."""
    filling = Filling()
    for number in range(most):
        message = Message("user", f"{number:08}" * (size // 8), id=f"{number}")
        outcome = attempt(store.append_message, SESSION, message)
        if outcome.error is None:
            filling.acknowledged.append(message.id)
            continue
        filling.errors.add(type(outcome.error))
        if outcome.unknown:
            filling.unknown.append(message.id)
        elif isinstance(outcome.error, StoreError):
            filling.refused.append(message.id)
        else:
            filling.wrong.append(outcome)
        if len(filling.errors) and number + 1 - len(filling.acknowledged) >= refusals:
            break
    return filling
