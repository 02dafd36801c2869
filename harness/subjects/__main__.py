"""`nox -s subjects`: run the contracts on stores that others wrote, and tell what they keep."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from harness.matrix import Cell, Store, load
from harness.orphans import end_with_parent
from harness.subjects.outcomes import Measured, changes, found, settled
from harness.subjects.page import PAGE, keep_results, load_results, page
from harness.subjects.runs import NoRunError, run, runs_of, versions
from harness.tables import MatrixError, listed

TRIES = 2
PARALLEL = 2


def main(arguments: Sequence[str]) -> int:
    """Return 0 if every subject ran, whatever it kept or broke; 1 if one could not."""
    options = _options(arguments)
    end_with_parent()
    try:
        matrix = load()
        subjects = _chosen(matrix.subjects, options.subject)
    except MatrixError as error:
        print(error)
        return 2
    before = load_results()
    if options.check:
        return _check(before, matrix.subjects)
    measure = partial(_measured, matrix.lane("smoke"), options)
    results, faults = dict(before), []
    with ThreadPoolExecutor(PARALLEL) as pool:
        for name, measured in zip(subjects, pool.map(measure, subjects.values()), strict=True):
            if isinstance(measured, NoRunError):
                faults.append(str(measured))
                continue
            results[name] = settled(measured, before.get(name))
            told = changes(name, results[name], before.get(name))
            print("\n".join(told or [f"{name}: as it was"]), flush=True)
    results = {name: results[name] for name in matrix.subjects if name in results}
    keep_results(results)
    PAGE.write_text(page(results, matrix.subjects, TRIES), encoding="utf-8")
    print("\n".join([*faults, f"docs/{PAGE.name} tells what each of them keeps"]))
    return 1 if faults else 0


def _measured(
    cells: list[Cell], options: argparse.Namespace, subject: Store
) -> Measured | NoRunError:
    """Run one subject, its cells one after the other: they share an environment."""
    try:
        reports = [
            run(one, Path(options.reports).resolve(), options.provider)
            for one in runs_of(subject, cells, options.tries)
        ]
    except NoRunError as error:
        return error
    return Measured(
        packages=versions(subject),
        servers=tuple(sorted({f"{subject.backend} {one.facts['version']}" for one in reports})),
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        contracts=found(one.results for one in reports),
    )


def _check(results: Mapping[str, Measured], subjects: Mapping[str, Store]) -> int:
    """Return 1 if the page is not of the kept results, or those of other packages."""
    told = [
        f"{name} has no results of {', '.join(subject.requires) or 'its own'}"
        for name, subject in subjects.items()
        if name not in results
        or any(
            results[name].packages.get(requirement.partition("==")[0].partition("[")[0])
            != requirement.partition("==")[2]
            for requirement in subject.requires
        )
    ]
    if not told and PAGE.read_text(encoding="utf-8") != page(results, subjects, TRIES):
        told = ["docs/subjects.md is not current"]
    print("\n".join([*told, "run `nox -s subjects`"] if told else []), end="")
    return 1 if told else 0


def _chosen(subjects: Mapping[str, Store], names: Sequence[str]) -> dict[str, Store]:
    for name in names:
        if name not in subjects:
            raise MatrixError(f"there is no subject {name!r}; there are {listed(subjects, name)}")
    return {name: one for name, one in subjects.items() if name in names or not names}


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="nox -s subjects --", description=__doc__)
    parser.add_argument("--subject", action="append", default=[], help="only this; repeatable")
    parser.add_argument("--tries", type=int, default=TRIES, help="runs in each cell")
    parser.add_argument("--provider", choices=["auto", "docker", "embedded"])
    parser.add_argument("--reports", default="reports", metavar="FOLDER")
    parser.add_argument("--check", action="store_true", help="only look whether docs are current")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
