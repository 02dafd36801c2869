"""A first try of stores of one's own, before any contract: a fault is one message, not hundreds.

It also tells what the store offers: its own `features`, and whether it is awaited.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import pytest

from contract_tests.fix_cell import CELL, MATRIX, REPORT, SERVER
from contract_tests.fix_stores import RUN, _opening, _rows
from harness.faces import LoopThread, SyncFace, features_of
from harness.matrix import Cell, Store
from harness.opening import Opening
from harness.report.secrets import without_passwords
from harness.tables import MatrixError
from stores.interface import FEATURES, MemoryStore, Message

Result = TypeVar("Result")
LONGEST_SECONDS = 20.0
"""For each step: no server that works needs as long, and one that hangs costs no more."""
BLOCKS = "the store blocks: it has neither event loops nor tasks"
ALONE = "the store was given no servers that only answer reads"
UNSWEPT = "no sweeper of the harness's knows the store's records"


@pytest.hookimpl(trylast=True)  # once the server serves
def pytest_sessionstart(session: pytest.Session) -> None:
    """Try the stores of one's own; end the run with one line where one cannot be used at all."""
    config = session.config
    if config.option.collectonly or config.getoption("mutants"):
        return
    foreign = [row for row in _rows(config) if not row.raw_records]
    if not foreign:
        return
    if foreign == _rows(config):
        # What their packages warn of, and leave open, is told, and is no fault of a contract's.
        config.addinivalue_line("filterwarnings", "default")
    matrix, cell, server = config.stash[MATRIX], config.stash[CELL], config.stash[SERVER]
    loop = LoopThread()
    try:
        tried = {
            row.name: _tried(row, cell, _opening(row, cell, server, _place(row), {}), loop)
            for row in foreign
        }
    except MatrixError as error:  # what hangs may hold the loop: it ends with the process
        told = without_passwords(str(error))
        config.stash[REPORT].write("error", told)
        raise pytest.UsageError(told) from None  # the way to end with one message
    loop.stop()
    config.stash[MATRIX] = replace(matrix, stores={**matrix.stores, **tried})


def _tried(row: Store, cell: Cell, opening: Opening, loop: LoopThread) -> Store:
    """Return the row with what the store says of itself. Raises MatrixError: one line."""
    place = f"the store {row.name} in {cell.id}"
    try:
        store = _in_time(lambda: opening.open(loop), f"{place}: opening it")
    except MatrixError:
        raise
    except Exception as error:
        scheme = opening.url.partition(":")[0]
        wrong = f"; it got a {scheme}:// URL (--backend says whose server a store is for)"
        raise MatrixError(
            f"{place} cannot be opened: {type(error).__name__}: {_line(error)}{wrong}"
        ) from error
    features = features_of(store) if row.features is None else row.features
    if strange := sorted(set(features) - FEATURES):
        raise MatrixError(
            f"{place} has the features {', '.join(strange)}; allowed: {', '.join(sorted(FEATURES))}"
        )
    for name, call in _first_calls(store, frozenset(features)).items():
        _in_time(_quietly(call), f"{place}: {name}")
    _in_time(_quietly(store.close), f"{place}: close")
    own_lacks = {} if isinstance(store, SyncFace) else {"tasks": BLOCKS}
    own_lacks |= {} if "replica_reads" in row.ways else {"replica_reads": ALONE}
    own_lacks |= {"sweeper": UNSWEPT, "active_expiry": UNSWEPT} if cell.sweep_every else {}
    return replace(row, features=frozenset(features), lacks={**own_lacks, **row.lacks})


def _first_calls(store: MemoryStore, features: frozenset[str]) -> dict[str, Callable[[], object]]:
    """Return calls that any store answers: what is wrong with their answers, contracts tell."""
    calls: dict[str, Callable[[], object]] = {"ping": store.ping}
    if "history" in features:
        message = Message("user", "hello")
        calls["append_message"] = lambda: store.append_message("a first try", message)
        calls["get_history"] = lambda: store.get_history("a first try")
    if "context" in features:
        calls["save_context"] = lambda: store.save_context("a first try", {})
        calls["load_context"] = lambda: store.load_context("a first try")
    if "sessions" in features:
        calls["delete_session"] = lambda: store.delete_session("a first try")
    return calls


def _in_time(call: Callable[[], Result], what: str) -> Result:
    """Return what a call gives, or raise what it raises; MatrixError where it hangs."""
    results: list[Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:  # noqa: BLE001 - raised below
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True, name="first try")
    thread.start()
    thread.join(LONGEST_SECONDS)
    if thread.is_alive():
        raise MatrixError(f"{what} has not ended after {LONGEST_SECONDS:.0f} s")
    if errors:
        raise errors[0]
    return results[0]


def _quietly(call: Callable[[], object]) -> Callable[[], None]:
    def quiet() -> None:
        try:
            call()
        except Exception:  # noqa: BLE001 - contracts will say it better
            return

    return quiet


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _place(row: Store) -> str:
    return f"matrix-{RUN}-tried-{row.name}"
