"""The history checker flags its known-bad recorded histories, each for its own defect."""

import json
from pathlib import Path
from typing import TypedDict, cast

import pytest

from harness.contracts import contract
from harness.histories import (
    CHECKS,
    LOCK_CHECKS,
    Check,
    History,
    HistoryRecord,
    LockCheck,
    LockHistory,
    check,
    check_locks,
    explain,
    replay,
)
from harness.histories.__main__ import main
from harness.histories.locks import LockRecord

RECORDED = Path(__file__).parent / "histories"
BAD = sorted((RECORDED / "bad").glob("*.json"))
GOOD = sorted((RECORDED / "good").glob("*.json"))


class Story(TypedDict):
    """What a recorded history adds to itself."""

    kind: str
    story: str
    breaks: list[str]


def recorded(path: Path) -> Story:
    """Read a recorded history with its story."""
    return cast("Story", json.loads(path.read_text(encoding="utf-8")))


@contract("hyg-5")
@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_known_bad_history_is_flagged_by_its_rules_alone(path: Path) -> None:
    """A known-bad history breaks the rules that its defect breaks, once each, and no other."""
    record = recorded(path)
    violations = replay(record)
    assert sorted(violation.rule for violation in violations) == sorted(record["breaks"]), (
        f"{record['story']}\n{explain(violations)}"
    )


@contract("hyg-5")
@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_known_good_history_passes(path: Path) -> None:
    """Concurrency, doubt and allowed loss are no defects."""
    record = recorded(path)
    violations = replay(record)
    assert not violations, f"{record['story']}\n{explain(violations)}"


@contract("hyg-5")
@pytest.mark.parametrize("removed", CHECKS, ids=lambda removed: removed.__name__)
def test_each_check_is_necessary(removed: Check) -> None:
    """A checker without any one of its checks misses a known-bad history."""
    rest = [one for one in CHECKS if one is not removed]
    histories = [
        History.from_dict(cast("HistoryRecord", record))
        for record in map(recorded, BAD)
        if record["kind"] == "messages"
    ]
    assert any(not check(history, rest) for history in histories)


@contract("hyg-5")
@pytest.mark.parametrize("removed", LOCK_CHECKS, ids=lambda removed: removed.__name__)
def test_each_lock_check_is_necessary(removed: LockCheck) -> None:
    """A lock checker without any one of its checks misses a known-bad history."""
    rest = [one for one in LOCK_CHECKS if one is not removed]
    histories = [
        LockHistory.from_dict(cast("LockRecord", record))
        for record in map(recorded, BAD)
        if record["kind"] == "lock"
    ]
    assert any(not check_locks(history, rest) for history in histories)


EXPLAINED = {
    "doubled_by_retry": """\
doubled: the final history holds a twice, at 1 and at 2
    w1 append a: acknowledged at 1 [0.000 to 0.000 ms]""",
    "invented_by_failed_append": """\
invented: the final history holds b, whose append failed
    w1 append b: failed (StoreUnavailable: connection refused) [0.000 to 0.000 ms]""",
    "invented_in_a_read": """\
invented: a read by r1 holds x, which nobody sent
    r1 read: acknowledged, 2 messages up to position 2 [0.000 to 0.000 ms]""",
    "overtaken_by_a_clock": """\
overtaken: a was acknowledged before b was sent, and comes after it
    w1 append a: acknowledged at 2 [0.000 to 0.000 ms]
    w2 append b: acknowledged at 1 [0.000 to 0.000 ms]""",
    "skipped_in_a_limited_read": """\
skipped: a read by r1 up to position 3 leaves out b
    w1 append b: acknowledged at 2 [0.000 to 0.000 ms]
    r1 read newest 2: acknowledged, 2 messages up to position 3 [0.000 to 0.000 ms]""",
    "stale_replica": """\
stale: a read by r1 ends at position 1, though b was acknowledged at 2 before
    w1 append b: acknowledged at 2 [0.000 to 0.000 ms]
    r1 read: acknowledged, 1 messages up to position 1 [0.000 to 0.000 ms]""",
    "torn_second_half": """\
torn: of the batch a, b the final history holds b
    w1 append a, b: unknown (OutcomeUnknown: no reply within 1 s) [0.000 to 0.000 ms]""",
    "lock_shrinking_token": """\
shrinking_token: w2 asked after w1 had token 7, and was given 6
    w1 lock: acknowledged with token 7 [0.000 to 0.000 ms]
    w2 lock: acknowledged with token 6 [0.000 to 0.000 ms]""",
}


@pytest.mark.parametrize("name", EXPLAINED)
def test_explanation_says_what_broke_and_who_was_told_what(name: str) -> None:
    """The text is a sentence and the operations that prove it."""
    assert explain(replay(recorded(RECORDED / "bad" / f"{name}.json"))) == EXPLAINED[name]


def test_stored_histories_are_judged_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The printed replay command tells good (0), bad (1) and unreadable (2) files apart."""
    nonsense = tmp_path / "nonsense.json"
    nonsense.write_text('{"kind": "messages", "seed": 1}', encoding="utf-8")
    good, bad = RECORDED / "good" / "batches.json", RECORDED / "bad" / "stale_replica.json"
    assert main([str(good)]) == 0
    assert main([str(good), str(bad)]) == 1
    assert main([str(nonsense), str(bad)]) == 2
    printed = capsys.readouterr()
    assert f"{good}: no violation" in printed.out
    assert "stale: a read by r1 ends at position 1, though b was acknowledged at 2" in printed.out
    assert f"{nonsense}: not a recorded history" in printed.err
