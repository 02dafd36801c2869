"""Histories are recorded by threads and processes, and explained in words."""

import itertools
import json
import threading
from collections.abc import Callable

import pytest

from harness.histories import History, LockHistory, Outcome, check, check_locks, explain


class Refused(Exception):
    """A store's way to say that it certainly did nothing."""


class Doubtful(Exception):
    """A store's way to say that it does not know."""


def test_block_turns_the_errors_of_a_store_into_verdicts() -> None:
    """Known errors become verdicts and the worker goes on; others are recorded and raised."""
    history = History(1, failed=(Refused,), unknown=(Doubtful,))
    with history.append("w1", ["a"]) as op:
        op.acknowledged([1])
    with history.append("w1", ["b"]):
        raise Refused("no connection")
    with history.append("w1", ["c"]):
        raise Doubtful("no reply")
    with pytest.raises(KeyError), history.append("w1", ["d"]):
        raise KeyError("a bug")
    outcomes = [append.outcome for append in history.appends]
    assert outcomes == [Outcome.ACKNOWLEDGED, Outcome.FAILED, Outcome.UNKNOWN, Outcome.UNKNOWN]
    assert history.appends[1].error == "Refused: no connection"


def test_error_that_is_both_certain_and_doubtful_is_doubtful() -> None:
    """Where a store's errors are of one family, doubt wins."""
    history = History(1, failed=(Exception,), unknown=(Doubtful,))
    with history.read("r1"):
        raise Doubtful("no reply")
    assert history.reads[0].outcome is Outcome.UNKNOWN


def test_exception_after_the_verdict_is_raised() -> None:
    """What goes wrong after the acknowledgement is no verdict on the append."""
    history = History(1, failed=(Refused,))
    op = history.append("w1", ["a"])
    op.acknowledged([1])
    with pytest.raises(Refused), op:
        raise Refused("of something else")
    assert history.appends[0].outcome is Outcome.ACKNOWLEDGED


def block_without_a_verdict(history: History) -> None:
    """Forget to say what came of an append."""
    with history.append("w1", ["a"]):
        pass


def two_verdicts(history: History) -> None:
    """Say it twice."""
    op = history.append("w1", ["a"])
    op.acknowledged([1])
    op.unknown("too late")


def verdict_after_the_final_read(history: History) -> None:
    """Let a worker go on while the inspector looks."""
    op = history.append("w1", ["a"])
    history.final([])
    op.acknowledged([1])


def append_after_the_final_read(history: History) -> None:
    """Begin when all is over."""
    history.final([])
    history.append("w1", ["a"])


def release_before_releasing(history: History) -> None:
    """Say that a lock was let go without saying since when."""
    hold = LockHistory(history.seed).acquire("w1")
    hold.acknowledged(1)
    hold.released()


@pytest.mark.parametrize(
    "misuse",
    [
        block_without_a_verdict,
        two_verdicts,
        verdict_after_the_final_read,
        append_after_the_final_read,
        release_before_releasing,
    ],
)
def test_misuse_is_refused(misuse: Callable[[History], None]) -> None:
    """A contract that records nonsense fails, instead of proving nothing."""
    with pytest.raises(RuntimeError):
        misuse(History(1))


def test_what_proves_nothing_is_refused() -> None:
    """Empty appends, reads of nothing, half answers and histories without a final read."""
    history = History(1)
    with pytest.raises(ValueError, match="nothing"):
        history.append("w1", [])
    with pytest.raises(ValueError, match="0 messages"):
        history.read("r1", limit=0)
    history.read("r1", limit=1)
    with pytest.raises(ValueError, match="2 messages were given"):
        history.append("w1", ["a", "b"]).acknowledged([1])
    with pytest.raises(ValueError, match="no final read"):
        check(history)


def test_histories_of_several_processes_are_judged_as_one() -> None:
    """Processes send their history as JSON, and order across them is by the machine's clock."""
    clock = itertools.count(1).__next__
    whole, one, other = (History(1, clock=clock) for _ in range(3))
    one.append("p1", ["a"]).acknowledged([2])
    other.append("p2", ["b"]).acknowledged([1])
    for part in (one, other):
        whole.include(History.from_dict(json.loads(json.dumps(part.to_dict()))))
    whole.final([(1, "b"), (2, "a")])
    assert [violation.rule for violation in check(whole)] == ["overtaken"]


def test_locks_of_several_processes_are_judged_as_one() -> None:
    """The same for a lock, with its renewals and releases."""
    clock = itertools.count(1).__next__
    whole, one, other = (LockHistory(1, clock=clock) for _ in range(3))
    first = one.acquire("p1", lease=30.0)
    first.acknowledged(1)
    first.renewed(first.renewing())
    second = other.acquire("p2")
    second.acknowledged(2)
    for hold in (second, first):
        hold.releasing()
        hold.released()
    for part in (one, other):
        whole.include(LockHistory.from_dict(json.loads(json.dumps(part.to_dict()))))
    assert whole.holds == (first.operation, second.operation)
    assert [violation.rule for violation in check_locks(whole)] == ["overlapping"]


def test_lost_update_between_threads_is_caught() -> None:
    """Two real threads that both read before either writes lose a message, and it is told."""
    history = History(1)
    kept: list[str] = []
    both_have_read = threading.Barrier(2)

    def write(worker: str) -> None:
        nonlocal kept
        with history.append(worker, [worker]) as op:
            mine = [*kept, worker]
            both_have_read.wait(timeout=5)
            kept = mine
            op.acknowledged([len(mine)])

    threads = [threading.Thread(target=write, args=(worker,)) for worker in ("w1", "w2")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    history.final(enumerate(kept, start=1))
    assert {violation.rule for violation in check(history)} == {"lost", "reordered"}


def test_explanation_gives_times_and_does_not_drown_in_repetitions() -> None:
    """Times are from the first operation that is involved; a rule is shown five times."""
    milliseconds = itertools.count(5_000_000, 1_000_000).__next__
    history = History(1, clock=milliseconds)
    for number in range(1, 8):
        history.append("w1", [f"m{number}"]).acknowledged([number])
    history.append("w2", ["x"])
    history.final([(1, "x"), (2, "x")])
    lost = [violation for violation in check(history) if violation.rule == "lost"]
    lines = explain(lost).splitlines()
    assert lines[2:4] == [
        "lost: m2 was acknowledged and is not in the final history",
        "    w1 append m2: acknowledged at 2 [2.000 to 3.000 ms]",
    ]
    assert lines[10:] == ["lost: and 2 more"]
    assert len(explain(lost[:5]).splitlines()) == 10
    assert "w2 append x: never came back [from 14.000 ms]" in explain(check(history))
    assert explain([]) == "no violation"
