"""What a restart, a kill or a power cut took, and whether it was a tail."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from harness.histories.evidence import Evidence
from harness.histories.record import History
from harness.histories.verdict import Violation

# One message id, or the ids of one batch.
Batch = str | Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """How much is gone. `violations` is empty if it is a tail: no hole, no torn batch."""

    acknowledged: int  # messages
    lost: tuple[str, ...]  # acknowledged ones that are gone, oldest first
    violations: tuple[Violation, ...]
    seconds: float | None = None  # how long before the event the oldest of them was acknowledged

    def __str__(self) -> str:
        span = "" if self.seconds is None else f", the last {self.seconds:.3f} s"
        return f"lost {len(self.lost)} of {self.acknowledged} acknowledged messages{span}"


def check_loss(
    acknowledged: Iterable[Batch], survived: Sequence[str], *, unknown: Iterable[Batch] = ()
) -> Loss:
    """Compare what was acknowledged, in its order, with the ids that survived, in theirs.

    `unknown` may have survived or not, each as a whole.
    """
    kept = {message: index for index, message in reversed(list(enumerate(survived)))}
    batches = [_ids(batch) for batch in acknowledged]
    doubtful = [_ids(batch) for batch in unknown]
    order = [message for batch in batches for message in batch]
    return Loss(
        acknowledged=len(order),
        lost=tuple(message for message in order if message not in kept),
        violations=(
            *_holes(batches, kept),
            *_reordered(order, kept),
            *_torn([*batches, *doubtful], survived, kept),
            *_strangers(survived, kept, {*order, *(m for batch in doubtful for m in batch)}),
        ),
    )


def loss_of(history: History, *, event: int | None = None) -> Loss:
    """Return what a history lost, by the positions that were acknowledged.

    `event` is the `time.monotonic_ns()` just before the server was broken: with it, the loss has
    its `seconds`. Raises ValueError if the history has no final read.
    """
    evidence = Evidence.of(history)
    answered = sorted(set(evidence.acknowledged.values()), key=lambda append: append.positions)
    doubtful = {
        append.ids
        for append in evidence.senders.values()
        if evidence.acknowledged.keys().isdisjoint(append.ids)
    }
    survived = [message for _, message in history.truth]
    loss = check_loss([append.ids for append in answered], survived, unknown=doubtful)
    gone = set(loss.lost)
    times = [append.finished for append in answered if not gone.isdisjoint(append.ids)]
    return loss if event is None or not times else replace(loss, seconds=(event - min(times)) / 1e9)


def _ids(batch: Batch) -> tuple[str, ...]:
    return (batch,) if isinstance(batch, str) else tuple(batch)


def _holes(batches: list[tuple[str, ...]], kept: dict[str, int]) -> Iterator[Violation]:
    survivors = [n for n, batch in enumerate(batches) if not kept.keys().isdisjoint(batch)]
    last = survivors[-1] if survivors else -1
    for batch in batches[: last + 1]:
        if kept.keys().isdisjoint(batch):
            sentence = (
                f"{', '.join(batch)} is lost, though {batches[last][-1]} came later and is there"
            )
            yield Violation("hole", sentence)


def _reordered(order: list[str], kept: dict[str, int]) -> Iterator[Violation]:
    for before, after in pairwise(message for message in order if message in kept):
        if kept[after] < kept[before]:
            sentence = f"{after} was acknowledged after {before} and now comes before it"
            yield Violation("reordered", sentence)


def _torn(
    batches: list[tuple[str, ...]], survived: Sequence[str], kept: dict[str, int]
) -> Iterator[Violation]:
    for batch in batches:
        start = kept.get(batch[0])
        if start is None:
            whole = kept.keys().isdisjoint(batch)
        else:
            whole = tuple(survived[start : start + len(batch)]) == batch
        if not whole:
            there = ", ".join(message for message in survived if message in batch)
            yield Violation("torn", f"of the batch {', '.join(batch)} there is {there}")


def _strangers(
    survived: Sequence[str], kept: dict[str, int], sent: set[str]
) -> Iterator[Violation]:
    for index, message in enumerate(survived):
        if message not in sent:
            yield Violation("invented", f"{message} survived and was never sent")
        elif kept[message] != index:
            yield Violation("doubled", f"{message} survived twice")
