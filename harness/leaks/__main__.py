"""`nox -s leaks`: run the mutants in every lane, and tell what each lane lets through."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import mutants
from harness.leaks.jobs import Ran, jobs_of, run_all
from harness.leaks.lanes import LANES, choose
from harness.leaks.table import lines, rate, rows
from harness.leaks.verdicts import verdicts
from harness.matrix import load
from harness.tables import MatrixError, listed
from mutants import Mutant

PLACE = Path("leaks")


def main(arguments: Sequence[str]) -> int:
    """Return 0 if the matrix lane leaks nothing and no unmutated adapter fails, else 1."""
    options = _options(arguments)
    try:
        matrix, chosen = load(), _chosen(options)
    except MatrixError as error:
        print(error)
        return 2
    lanes = options.lane or [lane for lane in LANES if lane in matrix.lanes]
    cells = choose(chosen, lanes, matrix)
    pairs = [(one, cell.id) for one in chosen for lane in lanes if (cell := cells[one.name, lane])]
    jobs = jobs_of(pairs)
    began = time.monotonic()
    print(f"{len(chosen)} mutants, {len(jobs)} jobs")
    ran = run_all(jobs, Path(options.reports) / PLACE, _for_pytest(options), _tell)
    found = verdicts(ran)
    table = rows(chosen, lanes, cells, found, matrix)
    print("\n".join(lines(table, lanes)))
    names = {one.name for one in chosen}
    alarms = [one for one in found if one.store not in names and one.outcome == "fail"]
    for one in alarms:
        print(f"false alarm: {one.store} in {one.cell} fails {one.rule} {one.test}: {one.reason}")
    print(f"{time.monotonic() - began:.0f} s")
    last = lanes[-1]
    return 1 if rate(table, last)[0] or alarms else 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="nox -s leaks --", description=__doc__)
    parser.add_argument("--lane", action="append", choices=LANES, help="only this lane")
    parser.add_argument("--mutant", action="append", default=[], help="only this mutant")
    parser.add_argument("-k", metavar="TEXT", help="only mutants with this in name, rule or source")
    parser.add_argument("--provider", default="auto", help="auto, docker or embedded")
    parser.add_argument("--reports", default="reports", metavar="FOLDER")
    parser.add_argument("--seed", type=int)
    return parser.parse_args(arguments)


def _chosen(options: argparse.Namespace) -> list[Mutant]:
    known = mutants.load()
    for name in options.mutant:
        if name not in known:
            raise MatrixError(f"there is no mutant {name!r}; there are {listed(known, name)}")
    chosen = [one for one in known.values() if not options.mutant or one.name in options.mutant]
    text = options.k or ""
    chosen = [one for one in chosen if text in f"{one.name} {one.rule} {one.source} {one.module}"]
    if not chosen:
        raise MatrixError(f"no mutant matches {text!r}")
    return chosen


def _for_pytest(options: argparse.Namespace) -> list[str]:
    seed = [] if options.seed is None else [f"--seed={options.seed}"]
    return [f"--provider={options.provider}", *seed]


def _tell(ran: Ran) -> None:
    print(f"  {ran.job.name}: {len(ran.job.mutants)} mutants, {ran.seconds:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
