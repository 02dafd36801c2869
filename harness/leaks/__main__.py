"""`nox -s leaks`: run the mutants in every lane, and tell what each lane lets through."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import mutants
from harness.leaks.generic import BACKEND, STORE, generic_mutants, own_row, told
from harness.leaks.jobs import Ran, jobs_of, run_all
from harness.leaks.lanes import LANES, choose
from harness.leaks.ledger import Ledger, changes, ledger, text
from harness.leaks.page import KEPT, faults, leaks_text, write
from harness.leaks.table import Row, lines, rate, rows
from harness.leaks.verdicts import verdicts
from harness.matrix import load
from harness.opening import load_factory
from harness.orphans import end_with_parent
from harness.own_stores import put_on_path
from harness.tables import MatrixError, listed
from mutants import Mutant

PLACE = Path("leaks")


def main(arguments: Sequence[str]) -> int:
    """Return 0 if the matrix lane leaks nothing and no unmutated adapter fails, else 1."""
    options = _options(arguments)
    end_with_parent()
    if options.check:
        told = faults(mutants.load())
        print("\n".join([*told, "run `nox -s leaks`"] if told else []), end="")
        return 1 if told else 0
    try:
        if options.store:
            return _own_store(options)
        matrix, chosen = load(), _chosen(options)
    except MatrixError as error:
        print(error)
        return 2
    lanes = options.lane or list(LANES)
    cells = choose(chosen, lanes, matrix)
    pairs = [(one, cell) for one in chosen for lane in lanes for cell in cells[one.name, lane]]
    fakes = {cell.id for _, cell in pairs if cell.image.fake}
    jobs = jobs_of([(one, cell.id) for one, cell in pairs], fakes)
    began = time.monotonic()
    print(f"{len(chosen)} mutants with a bug each, {len(jobs)} jobs", flush=True)
    found = verdicts(run_all(jobs, Path(options.reports) / PLACE, _for_pytest(options), _tell))
    table = rows(chosen, lanes, cells, found, matrix)
    print("\n".join(lines(table, lanes)))
    names = {one.name for one in chosen}
    alarms = [one for one in found if one.store not in names and one.outcome == "fail"]
    for one in alarms:
        print(f"false alarm: {one.store} in {one.cell} fails {one.rule} {one.test}: {one.reason}")
    _keep(options, table, ledger(found, mutants.load(), matrix))
    print(f"{time.monotonic() - began:.0f} s")
    return 1 if alarms or rate(table, "matrix")[0] else 0


def _own_store(options: argparse.Namespace) -> int:
    """Give the user's store the bugs that any store can be given; 1 if one goes unnoticed."""
    os.environ[STORE], os.environ[BACKEND] = options.store, options.backend or ""
    put_on_path(options.with_)
    matrix = load()
    row = own_row(matrix)
    assert row
    load_factory(row.factory)
    chosen = [*generic_mutants(row).values()]
    cell = next(cell.id for cell in matrix.lane("smoke") if cell.backend == row.backend)
    jobs = jobs_of((one, cell) for one in chosen)
    found = verdicts(run_all(jobs, Path(options.reports) / PLACE, _for_pytest(options), _tell))
    lines_, unseen = told(chosen, found, cell)
    print("\n".join(lines_))
    return 1 if unseen else 0


def _keep(options: argparse.Namespace, table: list[Row], made: Ledger) -> None:
    """Write the reports; of a whole run, show what changed and write the pages anew."""
    folder = Path(options.reports)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "leaks.json").write_text(leaks_text(table), encoding="utf-8")
    (folder / "ledger.json").write_text(text(made), encoding="utf-8")
    if options.lane or options.mutant or options.k:
        return
    changed = changes(KEPT / "ledger.json", made)
    print("\n".join(changed) if changed else "the ledger is as it was")
    write(table, made, mutants.load())


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="nox -s leaks --", description=__doc__)
    parser.add_argument("--lane", action="append", choices=LANES, help="only this lane")
    parser.add_argument("--mutant", action="append", default=[], help="only this mutant")
    parser.add_argument("-k", metavar="TEXT", help="only mutants with this in name, rule or source")
    parser.add_argument("--provider", default="auto", help="auto, docker or embedded")
    parser.add_argument("--reports", default="reports", metavar="FOLDER")
    parser.add_argument("--seed", type=int)
    parser.add_argument(
        "--store",
        metavar="package.module:callable",
        help="a store of your own: which bugs in it would the contracts not notice?",
    )
    parser.add_argument("--backend", choices=["redis", "postgres"], help="of --store's server")
    parser.add_argument(
        *("--with",),
        dest="with_",
        action="append",
        default=[],
        metavar="WHAT",
        help="what --store comes from: a folder, or a requirement as for pip",
    )
    parser.add_argument("--check", action="store_true", help="only look whether docs are current")
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
