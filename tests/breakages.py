"""The harness with one of its parts broken: a plugin of pytest. The environment says which."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest

VARIABLE = "BROKEN_PART"


def _checker(patch: pytest.MonkeyPatch) -> None:
    """Remove a check from the checker of histories."""
    from harness.histories.check import CHECKS, check  # noqa: PLC0415 - only what gets broken

    patch.setattr(check, "__defaults__", (CHECKS[1:],))


def _lock_checker(patch: pytest.MonkeyPatch) -> None:
    """Remove a check from the checker of locks."""
    from harness.histories.locks import LOCK_CHECKS, check_locks  # noqa: PLC0415 - the same

    patch.setattr(check_locks, "__defaults__", (LOCK_CHECKS[1:],))


def _loss(patch: pytest.MonkeyPatch) -> None:
    """Take whatever an event left for a tail."""
    from harness.histories import loss  # noqa: PLC0415 - the same

    for name in ("_holes", "_reordered", "_torn", "_strangers"):
        patch.setattr(loss, name, lambda *_: iter(()))


def _proxy(fault: str) -> Callable[[pytest.MonkeyPatch], None]:
    def broken(patch: pytest.MonkeyPatch) -> None:
        from harness.faults import FaultProxy  # noqa: PLC0415 - the same

        patch.setattr(FaultProxy, fault, lambda *_: nullcontext())

    return broken


def _ending(patch: pytest.MonkeyPatch) -> None:
    """Let a proxy's faults go on after their block."""
    from harness.faults import FaultProxy  # noqa: PLC0415 - the same

    @contextmanager
    def for_ever(proxy: Any, make: Any, *, at_once: bool = False) -> Iterator[None]:
        proxy._run(proxy._begin(make, at_once=at_once))
        yield

    patch.setattr(FaultProxy, "_during", for_ever)


def _power_cut(patch: pytest.MonkeyPatch) -> None:
    """Cut the power of nothing: what was not synced is kept."""
    from harness.faults.disk import Disk  # noqa: PLC0415 - the same

    patch.setattr(Disk, "cut_power", lambda _: None)


def _attestation(patch: pytest.MonkeyPatch) -> None:
    """Compare nothing of a server with its row."""
    from harness import attestation  # noqa: PLC0415 - the same

    patch.setattr(attestation, "_differences", lambda *_: [])


def _promises(patch: pytest.MonkeyPatch) -> None:
    """Take every loss for promised."""
    from harness.promises import Promise  # noqa: PLC0415 - the same

    patch.setattr(Promise, "broken_by", lambda *_: False)


def _leaks(patch: pytest.MonkeyPatch) -> None:
    """Take a mutant that failed for any reason for caught."""
    from harness.leaks import verdicts  # noqa: PLC0415 - the same

    patch.setattr(verdicts, "_of_mutant", lambda *_: ("caught", ""))


BREAKAGES: Mapping[str, tuple[Callable[[pytest.MonkeyPatch], None], str]] = {
    "checker without a check": (_checker, "test_histories.py"),
    "lock checker without a check": (_lock_checker, "test_histories.py"),
    "loss that calls everything a tail": (_loss, "test_histories_loss.py"),
    "proxy that drops nothing": (_proxy("drop_next_reply"), "test_proxy.py"),
    "proxy that cuts nothing": (_proxy("cut_after"), "test_proxy.py"),
    "proxy that holds nothing back": (_proxy("blackhole"), "test_proxy.py"),
    "proxy whose faults do not end": (_ending, "test_proxy.py"),
    "power cut that cuts nothing": (_power_cut, "test_disk.py"),
    "attestation that compares nothing": (_attestation, "test_servers.py"),
    "promises that nothing breaks": (_promises, "test_promises.py"),
    "verdict that takes any failure for a catch": (_leaks, "test_leaks.py"),
}
"""What is broken, how, and the tests that must notice."""


def pytest_configure() -> None:
    """Break the part that the environment names, for all of the process."""
    BREAKAGES[os.environ[VARIABLE]][0](pytest.MonkeyPatch())
