"""The command that runs one contract again."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest

from contract_tests.fix_cell import CELL, MATRIX, SEED
from contract_tests.fix_stores import _row
from harness.clients import SESSION_VARIABLE

FOLDER = "again"
"""Where its reports go, within the folder of this run's: what the first failure left stays."""
SAME = {"--provider": "auto", "--backend": None}
"""The options, with their defaults, that it takes over where they were given."""
ONE_NAME = re.compile(r"[\w:+.\[\]/-]+")
"""What pytest's -k takes as one name. With its parameters it is part of no other test's."""


def again(item: pytest.Item) -> str:
    """Return the command that runs exactly this contract again: same cell, store and choices.

    The server's arguments come from the cell's row, as they did this time. Stores that share an
    event go on sharing it, unless a parameter's text is nothing that -k can name.
    """
    assert isinstance(item, pytest.Function)
    config, cell, row = item.config, item.config.stash[CELL], _row(item)
    reports = Path(config.getoption("reports"))
    words = ["nox", "-s", f"matrix({cell.id})", "--"]
    lanes = config.stash[MATRIX].lanes
    if client := os.environ.get(SESSION_VARIABLE):
        words = ["nox", "-s", client, "--", "--cell", cell.id]
        reports = reports.parent.parent  # it has a folder of its own in that of the run
    elif cell.id not in lanes["matrix"]:
        words += ["--lane", next(lane for lane, cells in lanes.items() if cell.id in cells)]
    stores = config.getoption("store")
    if ONE_NAME.fullmatch(item.name):
        words += ["-k", item.name]
    else:
        words += ["-k", item.originalname]
        stores = [row.name] if row else stores
    for store in stores:
        words += ["--store", store]
    for what in config.getoption("with_"):
        words += ["--with", what]
    for option, default in SAME.items():
        value = config.getoption(option.removeprefix("--"))
        words += [option, value] if value != default else []
    reports = reports if reports.name == FOLDER else reports / FOLDER
    return shlex.join([*words, "--seed", str(config.stash[SEED]), "--reports", str(reports)])
