"""`nox -s up` and `nox -s down`: a cell's servers to try by hand, as long as they are wanted."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time

from harness.matrix import load
from harness.providers import PROVIDERS
from harness.servers.keeping import END_SECONDS, Kept, contracts_on, kept

KEEPER = (sys.executable, "-m", "harness.servers.keeping")


def main() -> int:
    """Start and end what is asked for, or show what is up."""
    parser = argparse.ArgumentParser(prog="nox -s up --", description=up.__doc__)
    parser.add_argument("cell", nargs="?", help="`nox -l` lists the cells, as in matrix(CELL)")
    parser.add_argument("--provider", choices=PROVIDERS[:-1], default="auto")
    parser.add_argument("--down", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.down:
        return down(options.cell)
    return up(options.cell, options.provider) if options.cell else show(kept())


def up(cell_id: str, provider: str) -> int:
    """Start a cell's servers and leave them running; without a cell, show what runs."""
    there = [one for one in kept() if one.cell == cell_id]
    if there:
        return show(there)
    began = time.monotonic()
    keeper = subprocess.Popen(
        [*KEEPER, cell_id, provider],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        assert keeper.stdout
        said = keeper.stdout.read()  # until the keeper falls silent, or ends
    except BaseException:
        keeper.send_signal(signal.SIGTERM)
        keeper.wait(END_SECONDS)
        raise
    there = [one for one in kept() if one.pid == keeper.pid]
    if not there:
        print(said.strip() or f"{cell_id}: it ended at once", file=sys.stderr)
        return 1
    print(f"{cell_id} serves after {time.monotonic() - began:.1f} s")
    return show(there)


def down(cell_id: str | None) -> int:
    """End a cell's servers that stayed up, or all of them, and delete their data."""
    there = [one for one in kept() if cell_id in {None, one.cell}]
    stayed = [one for one in there if not one.end()]
    for one in there:
        print(f"{one.cell} {'did not end' if one in stayed else 'is down'}")
    if not there:
        print(f"{cell_id} is not up" if cell_id else "nothing is up")
    return 1 if stayed or (cell_id and not there) else 0


def show(there: list[Kept]) -> int:
    """Print what is up, with its URLs."""
    cells = load().cells
    for one in there:
        print(one.cell)
        for name, url in one.urls:
            print(f"  {name:9} {url}")
        command = contracts_on(cells[one.cell], one) if one.cell in cells else None
        if command:
            print(f"  contracts {command}")
    print("`nox -s down` ends it." if there else "nothing is up; `nox -s up -- CELL` starts a cell")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
