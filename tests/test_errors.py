"""The errors of stores, on their way between processes."""

from __future__ import annotations

import pickle

import pytest

from stores.errors import Conflict, CorruptRecord, StoreError, UnsupportedRecordVersion


@pytest.mark.parametrize(
    "error",
    [
        Conflict("taken"),
        CorruptRecord("garbage", session_id="s", position=2, raw=b"x"),
        UnsupportedRecordVersion(9, session_id="s", raw=b"v9 {}"),
    ],
)
def test_an_error_is_the_same_in_another_process(error: StoreError) -> None:
    """A worker process that raises one tells it, instead of breaking the pool of processes."""
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - made a line above
    assert type(again) is type(error)
    assert (str(again), vars(again)) == (str(error), vars(error))
