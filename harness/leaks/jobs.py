"""Running mutants: one pytest process for all of a cell's, one each for those that share an event.

What is common to all lanes runs once: a cell that serves three lanes is one job.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Container, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from harness.docs import ROOT, contracts
from harness.orphans import PARENT_VARIABLE
from mutants import Mutant

PARALLEL = 2
LONGEST_SECONDS = 900
LEFT_OPEN = "ignore::pytest.PytestUnraisableExceptionWarning"
"""Mutants leave sockets and loops open, for which some later contract would be blamed."""


@dataclass(frozen=True, slots=True)
class Job:
    """Some mutants in one cell; ``controls``: with their unmutated adapters, without, or only."""

    cell: str
    mutants: tuple[Mutant, ...]
    controls: str

    @property
    def name(self) -> str:
        """A folder's name."""
        if self.controls == "without" and len(self.mutants) == 1:
            return f"{self.cell}-{self.mutants[0].name}"
        return f"{self.cell}-{self.controls}"


@dataclass(frozen=True, slots=True)
class Ran:
    """A job, and where its results are."""

    job: Job
    folder: Path
    seconds: float
    printed: str


def jobs_of(pairs: Iterable[tuple[Mutant, str]], fakes: Container[str] = ()) -> list[Job]:
    """Return the jobs for mutants and their cells, the longest first.

    In cells that only imitate a server no event happens: there nobody needs to be alone.
    """
    cells: dict[str, dict[str, Mutant]] = {}
    for mutant, cell in pairs:
        cells.setdefault(cell, {})[mutant.name] = mutant
    jobs = []
    for cell, found in cells.items():
        common = tuple(one for one in found.values() if not one.alone)
        alone = tuple(one for one in found.values() if one.alone)
        jobs += [Job(cell, common, "with")] if common else []
        jobs += [Job(cell, alone, "only")] if alone else []
        apart = [alone] if cell in fakes else [(one,) for one in alone]
        jobs += [Job(cell, some, "without") for some in apart if some]
    return sorted(jobs, key=lambda job: -len(job.mutants))


def files_of(mutants: Sequence[Mutant]) -> list[str]:
    """Return the files of the contracts that mutants are pinned to, as far as there are such."""
    wanted = {one.test for one in mutants}
    places = (one.place.partition("::") for one in contracts(ROOT / "contract_tests"))
    return sorted({f"contract_tests/{file}" for file, _, test in places if test in wanted})


def run_all(
    jobs: Sequence[Job], reports: Path, options: Sequence[str], tell: Callable[[Ran], None]
) -> list[Ran]:
    """Run the jobs, two at a time; a job without any contract is left out."""
    pool = ThreadPoolExecutor(PARALLEL)

    def one(job: Job) -> Ran:
        ran = run(job, reports, options)
        tell(ran)
        return ran

    try:
        return list(pool.map(one, [job for job in jobs if files_of(job.mutants)]))
    finally:
        pool.shutdown(cancel_futures=True)  # interrupted, no other job begins


def run(job: Job, reports: Path, options: Sequence[str]) -> Ran:
    """Run one job; its results are in a folder of its own."""
    began, folder = time.monotonic(), reports / job.name
    names = ",".join(one.name for one in job.mutants)
    command = [
        *(
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-W",
            LEFT_OPEN,
            "--cell",
            job.cell,
            "--mutants",
            names,
        ),
        *("--controls", job.controls, "--reports", str(folder), *options, *files_of(job.mutants)),
    ]
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, PARENT_VARIABLE: str(os.getpid())},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LONGEST_SECONDS,
            check=False,
        )
        printed = done.stdout
    except subprocess.TimeoutExpired as error:
        printed = f"it did not end within {LONGEST_SECONDS} s\n{error.stdout!r}"
    return Ran(job, folder / job.cell, time.monotonic() - began, printed)
