"""Run the cells of one client, one after the other: `nox -s clients` does, in its environment."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from harness.clients import FACTS, FOLDER, SESSION_VARIABLE
from harness.orphans import PARENT_VARIABLE, end_with_parent
from harness.report.outcome import NOT_RUN_EXIT, RUN_VARIABLE, read_outcome

DRIVERS = ("redis", "psycopg", "psycopg-pool", "fakeredis")


def main() -> int:
    """Return 1 if a cell failed, or did not run with ``--strict``, and else 0."""
    parser = argparse.ArgumentParser(prog="python -m harness.clients", description=__doc__)
    parser.add_argument("client")
    parser.add_argument("--reports", type=Path, required=True)
    parser.add_argument("--cell", action="append", required=True)
    parser.add_argument("--strict", action="store_true")
    options, for_pytest = parser.parse_known_args()
    folder = options.reports / FOLDER / options.client
    folder.mkdir(parents=True, exist_ok=True)
    facts = {
        "run": os.environ.get(RUN_VARIABLE, ""),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in DRIVERS},
        "cells": options.cell,
    }
    (folder / FACTS).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    failed = []
    for cell in options.cell:
        code = _pytest(options.client, "--cell", cell, "--reports", str(folder), *for_pytest)
        outcome = read_outcome(folder / cell).outcome
        if code not in {0, NOT_RUN_EXIT} or (outcome != "done" and options.strict):
            failed.append(cell)
    print(f"{options.client}: {len(options.cell)} cells, failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


def _pytest(client: str, *arguments: str) -> int:
    """Run the suite; however this is ended, the suite cleans up first."""
    command = [sys.executable, "-m", "pytest", "contract_tests", "-q", *arguments]
    own = {
        **os.environ,
        PARENT_VARIABLE: str(os.getpid()),
        SESSION_VARIABLE: f"clients({client})",
    }
    with subprocess.Popen(command, env=own) as suite:
        try:
            return suite.wait()
        except KeyboardInterrupt:
            suite.send_signal(signal.SIGINT)
            suite.wait()
            raise


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    end_with_parent()
    sys.exit(main())
