"""The harness has mutants too: with a part of it broken, its own tests turn red."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from harness.faults.disk import fault
from tests.breakages import BREAKAGES, VARIABLE
from tests.project import ROOT

NARROWED = {
    "attestation that compares nothing": "another_configuration",
    "proxy that holds nothing back": "blackhole",
    "proxy whose faults do not end": "delay",
}
"""Of long files, only the tests that are about the part."""


@pytest.mark.parametrize("broken", BREAKAGES)
def test_a_broken_part_is_noticed(broken: str) -> None:
    """A part that does nothing any more, or sees nothing, fails the tests that are about it."""
    if broken.startswith("power cut") and fault():
        pytest.skip(f"{fault()}")
    _, file = BREAKAGES[broken]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "tests.breakages", f"tests/{file}"]
    command += ["-k", NARROWED.get(broken, ""), "--timeout=10"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, VARIABLE: broken},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout[-2000:]
