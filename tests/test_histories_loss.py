"""What an event took is counted, and told from what no event may do."""

import itertools
from collections.abc import Sequence

import pytest

from harness.contracts import contract
from harness.histories import History, check, check_loss, check_updates, loss_of

SENT = ["a", ("b", "c"), "d"]


@contract("hyg-5")
@pytest.mark.parametrize(
    ("survived", "lost"),
    [
        (["a", "b", "c", "d"], 0),
        (["a", "b", "c"], 1),
        (["a"], 3),
        ([], 4),
        (["a", "u", "v", "b", "c"], 1),
        (["a", "b", "c", "d", "u", "v"], 0),
    ],
)
def test_tail_is_counted(survived: Sequence[str], lost: int) -> None:
    """A tail may be gone, and what nobody was told of may be there."""
    loss = check_loss(SENT, survived, unknown=[("u", "v"), "w"])
    assert not loss.violations
    assert (loss.acknowledged, len(loss.lost)) == (4, lost)


@contract("hyg-5")
@pytest.mark.parametrize(
    ("survived", "rule"),
    [
        (["b", "c", "d"], "hole"),
        (["a", "d"], "hole"),
        (["b", "c", "a"], "reordered"),
        (["a", "b"], "torn"),
        (["a", "c"], "torn"),
        (["a", "b", "u", "v", "c"], "torn"),
        (["a", "v"], "torn"),
        (["a", "x"], "invented"),
        (["a", "a"], "doubled"),
    ],
)
def test_what_is_not_a_tail_is_told(survived: Sequence[str], rule: str) -> None:
    """A hole, another order, half a batch, a stranger and a double are no loss of a tail."""
    loss = check_loss(SENT, survived, unknown=[("u", "v"), "w"])
    assert {violation.rule for violation in loss.violations} == {rule}


def test_loss_of_a_history_is_measured_in_messages_and_seconds() -> None:
    """The seconds are from the acknowledgement of the oldest lost message to the event."""
    seconds = itertools.count(0, 1_000_000_000).__next__
    history = History(1, clock=seconds)
    first, second, third = (history.append("w1", [message]) for message in ("a", "b", "c"))
    second.acknowledged([2])
    first.acknowledged([1])
    third.acknowledged([3])
    history.append("w2", ["u"]).unknown("no reply")
    history.final([(1, "a")], tail_may_be_lost=True)
    loss = loss_of(history, event=8_000_000_000)
    assert str(loss) == "lost 2 of 3 acknowledged messages, the last 5.000 s"
    assert not check(history)
    assert loss_of(history).seconds is None


def test_no_loss_has_no_seconds() -> None:
    """Where nothing is lost there is no oldest lost message."""
    history = History(1)
    history.append("w1", ["a"]).acknowledged([1])
    history.final([(1, "a")])
    assert str(loss_of(history, event=0)) == "lost 0 of 1 acknowledged messages"


def test_failed_append_that_survived_is_told() -> None:
    """Failed is certain, whatever broke afterwards."""
    history = History(1)
    history.append("w1", ["a"]).failed("refused")
    history.final([(1, "a")], tail_may_be_lost=True)
    assert [violation.rule for violation in loss_of(history).violations] == ["invented"]


@contract("hyg-5")
@pytest.mark.parametrize(
    ("final", "rules"),
    [
        ("ab", []),
        ("abu", []),
        ("abf", ["invented"]),
        ("abx", ["invented"]),
        ("a", ["lost"]),
        ("ax", ["lost", "invented"]),
    ],
)
def test_updates_of_keys_of_their_own_are_all_kept(final: str, rules: list[str]) -> None:
    """Acknowledged keys are there, unknown ones may be, failed and foreign ones are not."""
    violations = check_updates(final, acknowledged="ab", unknown="u", failed="af")
    assert [violation.rule for violation in violations] == rules
