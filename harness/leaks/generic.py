"""A user's own store with bugs that any store can be given: which contracts would notice?"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness.faces import LoopThread
from harness.leaks.verdicts import Verdict
from harness.matrix import Matrix, Store
from harness.opening import Opening, features_known
from harness.own_stores import row_of
from harness.tables import MatrixError
from mutants import Mutant
from mutants._generic import GENERIC, Wrapped
from stores.interface import MemoryStore

STORE, BACKEND = "LEAKS_STORE", "LEAKS_BACKEND"
"""Environment variables: the store under test, a name in matrix.toml or a factory; its backend."""
BLOCKS = "behind a bug that any store can be given, a store blocks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Generic(Mutant):
    """A bug, and the store that is given it."""

    row: Store = field(default_factory=lambda: Store("", "", ""))

    @property
    def backend(self) -> str:
        return self.row.backend

    @property
    def control(self) -> str:
        return self.row.name

    @property
    def factory(self) -> str:
        return f"{__name__}:STORES.{self.name}"


def own_row(matrix: Matrix) -> Store | None:
    """Return the row of the store that the environment names; None if it names none."""
    name = os.environ.get(STORE)
    if not name:
        return None
    row = row_of(matrix, name, os.environ.get(BACKEND))
    if row is None:
        raise MatrixError(f"--store takes package.module:callable or a name, not {name!r}")
    if row.features is None:
        row = replace(row, features=features_known(row.factory))
    return replace(row, ways={}, lacks={**row.lacks, "tasks": BLOCKS})


def generic_mutants(row: Store) -> Mapping[str, Mutant]:
    """Return the bugs that the store can be given."""
    return {
        name: Generic(
            name=name,
            says="",
            adapter=kind,
            source="class: any store",
            rule=kind.rule,
            test=kind.test,
            bug=(kind.__doc__ or "").partition("\n")[0],
            module=__name__,
            apply=lambda _: None,
            row=row,
        )
        for name, kind in GENERIC.items()
    }


class _Stores:
    """``harness.leaks.generic:STORES.Bug`` opens the environment's store with that bug."""

    def __getattr__(self, name: str) -> Any:
        if name not in GENERIC:
            raise AttributeError(name)
        kind = GENERIC[name]
        return lambda url, *, namespace, **options: _open(kind, url, namespace, options)


STORES = _Stores()


def _open(kind: type[Wrapped], url: str, namespace: str, options: dict[str, Any]) -> MemoryStore:
    from harness.matrix import load  # noqa: PLC0415 - once a store, in any process

    row = own_row(load())
    assert row
    opening = Opening(row.factory, url, namespace, kind.options(options))
    return kind(opening.open(_LOOPS[0] if _LOOPS else _new_loop()))


_LOOPS: list[LoopThread] = []


def _new_loop() -> LoopThread:
    _LOOPS.append(LoopThread())
    return _LOOPS[0]


def told(chosen: Sequence[Mutant], found: Iterable[Verdict], backend: str) -> tuple[list[str], int]:
    """Return the lines of the answer, and how many bugs nobody would notice."""
    verdicts = {(one.store, one.rule, one.test): one for one in found}
    lines, unseen = [], 0
    for mutant in chosen:
        own = verdicts.get((mutant.name, mutant.rule, mutant.test))
        control = verdicts.get((mutant.control, mutant.rule, mutant.test))
        contract = f"{mutant.rule} {mutant.test}"
        if control is None or own is None or control.outcome == "not run":
            said = f"unknown: {contract} did not run"
        elif control.outcome == "fail":
            said = f"unknown: the store itself fails {contract}: {control.reason}"
        elif own.outcome == "caught":
            said = f"noticed by {contract}"
        elif own.outcome == "not applicable":
            said = f"not applicable: {own.reason}"
        else:
            said, unseen = f"NOT NOTICED by {contract}", unseen + 1
        lines += [f"{mutant.name}: {mutant.bug}", f"    {said}"]
    return [*lines, f"{unseen} of {len(chosen)} bugs would go unnoticed on {backend}"], unseen
