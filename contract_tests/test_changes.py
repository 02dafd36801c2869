"""dur: what becomes of the data where an operator changes the persistence policy or the image."""

from __future__ import annotations

import pytest

from contract_tests.changing import FLEETING, TALK, TTL_SECONDS
from contract_tests.fix_changes import Made
from contract_tests.fix_report import Measure
from harness.changes import CHANGE
from harness.contracts import contract, needs
from harness.matrix import Store

pytestmark = [
    needs("changes", "history", "context", "sessions", "ttl", "lock"),
    pytest.mark.timeout(120),  # the first contract starts half a dozen servers for all of them
]


@contract("dur-5")
def test_a_changed_policy_does_to_data_what_its_row_says(
    settings_change: Made, store_row: Store, measure: Measure
) -> None:
    """Another persistence policy on existing data keeps, refuses or loses it, as its row says.

    Look at `changes` in matrix.toml, and at which file the server reads at its start.
    """
    compare(settings_change, store_row, measure)


@contract("dur-6")
def test_another_image_does_to_data_what_its_row_says(
    image_change: Made, store_row: Store, measure: Measure
) -> None:
    """Another image on existing data keeps, refuses or loses it, as its row says.

    Look at `changes` and `restores` in matrix.toml, and at the files of both versions.
    """
    compare(image_change, store_row, measure)


@contract("dur-5")
def test_after_a_changed_policy_all_is_there_or_nothing(
    settings_change: Made, store_row: Store
) -> None:
    """After a change of policy a session reads as it was, or as one that never was: never a part.

    Look for a part of a session that lies elsewhere than the rest of it.
    """
    judge(settings_change, store_row)


@contract("dur-6")
def test_after_another_image_all_is_there_or_nothing(image_change: Made, store_row: Store) -> None:
    """After a change of image a session reads as it was, or as one that never was: never a part.

    Look for records, types or functions that another version of the server reads otherwise.
    """
    judge(image_change, store_row)


def compare(made: Made, store_row: Store, measure: Measure) -> None:
    """Measure what became of the data; fail unless it is what matrix.toml says."""
    change, before, changed = made
    fate = changed.fate(store_row.name, before)
    measure(
        CHANGE,
        origin=change.origin,
        target=change.target,
        axis=change.axis,
        way=change.way,
        fate=fate,
        promise=change.fate,
        said=changed.refusal or "",
    )
    said = f" ({changed.refusal})" if changed.refusal else ""
    assert fate == change.fate, f"{change}: the data is {fate}{said}, its row says {change.fate}"


def judge(made: Made, store_row: Store) -> None:
    """Fail if what the store reads is neither what was written nor nothing at all."""
    change, before, changed = made
    if changed.refusal is not None:
        return  # nothing was read
    assert store_row.name not in changed.errors, f"{change}: {changed.errors[store_row.name]!r}"
    after = changed.after[store_row.name]
    kept = bool(after.history)
    assert after.history == (before.history if kept else []), f"{change}: another history"
    assert after.context == (before.context if kept else None), f"{change}: another context"
    assert after.sessions == ({TALK, FLEETING} if kept else set())
    if kept:
        assert after.ttl is not None, f"{change}: a session lives for ever"
        assert after.ttl == pytest.approx(TTL_SECONDS, abs=30)
        assert after.repeated == before.history[0], f"{change}: a message id was forgotten"
    assert after.position == (len(before.history) if kept else 1) + 1
    assert after.version > before.context.version, f"{change}: versions began anew"
    assert after.token > before.token, f"{change}: fencing tokens began anew"
