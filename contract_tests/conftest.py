"""The contract suite's options and plugins. Each fixture module answers one question."""

from __future__ import annotations

import pytest

from harness.own_stores import BACKENDS

pytest_plugins = [
    "contract_tests.fix_cell",
    "contract_tests.fix_stores",
    "contract_tests.fix_trial",
    "contract_tests.fix_changes",
    "contract_tests.fix_mutants",
    "contract_tests.fix_faults",
    "contract_tests.fix_states",
    "contract_tests.fix_replicas",
    "contract_tests.fix_sweeper",
    "contract_tests.fix_histories",
    "contract_tests.fix_report",
    "contract_tests.fix_processes",
    "contract_tests.fix_planted",
    "contract_tests.fix_outages",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what `nox -s matrix -- --help` explains."""
    group = parser.getgroup("cell", "the cell to run the contracts in")
    group.addoption("--cell", help="the cell's id in matrix.toml")
    group.addoption("--provider", default="auto", help="auto, docker, embedded or external")
    group.addoption("--store", action="append", default=[], help="only this store; repeatable")
    group.addoption("--backend", choices=BACKENDS, help="whose server a factory is for")
    group.addoption(
        "--with", dest="with_", action="append", default=[], help="where a factory is; repeatable"
    )
    group.addoption("--seed", type=int, help="start of every random choice; printed in any case")
    group.addoption("--reports", default="reports", help="where reports/<cell>/ goes")
