"""Stores with exactly one known bug each: what proves that the contracts bite.

A mutant is a real adapter of `stores`, opened as always and then broken in a few lines.
It names where its bug was seen, the contract that must notice it, and what that contract
must say. Knows nothing but `stores`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stores.interface import AsyncMemoryStore, MemoryStore

Break = Callable[[Any], None]
"""Breaks a store that was opened just now."""
Options = Callable[[dict[str, Any]], dict[str, Any]]

REGISTRY: dict[str, Mutant] = {}


@dataclass(frozen=True, slots=True)
class Mutant:
    """A store with one known bug."""

    name: str
    says: str
    """A part of what the failing contract must say; where a race shows in several ways, each of
    them, with | between."""
    adapter: type[MemoryStore | AsyncMemoryStore]
    source: str
    """Where the bug was seen: an incident of the project's list, or a class of public bugs."""
    rule: str
    test: str
    """The contract that must notice it, by the name of its test function."""
    bug: str
    """What is wrong, in one sentence."""
    module: str
    apply: Break
    values: Mapping[str, str] = field(default_factory=dict)
    """Axis values that a cell must have to show it; none: any cell of the backend does."""
    alone: bool = False
    """Whether it would disturb other stores of its cell: it shares an event with them, or harms
    the whole server."""
    options: Options = dict

    @property
    def backend(self) -> str:
        """The backend whose cells it runs in."""
        return self._proper.__module__.split(".")[1]

    @property
    def control(self) -> str:
        """The name of the same store without the bug, in matrix.toml."""
        return self._proper.__name__

    @property
    def _proper(self) -> type[object]:
        """The adapter of `stores`, where a mutant subclasses it."""
        return next(kind for kind in self.adapter.__mro__ if kind.__module__.startswith("stores."))

    @property
    def factory(self) -> str:
        """What opens it, as ``package.module:callable``; importable in any process."""
        return f"{self.module}:{self.name}.from_url"

    def from_url(self, url: str, **options: Any) -> MemoryStore | AsyncMemoryStore:
        """Open the adapter, and break it."""
        make: Any = self.adapter
        store: MemoryStore | AsyncMemoryStore = make.from_url(url, **self.options(options))
        self.apply(store)
        return store


def mutant(
    adapter: type[MemoryStore | AsyncMemoryStore],
    source: str,
    rule: str,
    test: str,
    *,
    says: str,
    alone: bool = False,
    options: Options = dict,
    **values: str,
) -> Callable[[Break], Mutant]:
    """Register what breaks a store as a mutant; its docstring's first line is the bug."""

    def register(apply: Break) -> Mutant:
        bug = (apply.__doc__ or "").strip().partition("\n")[0]
        made = Mutant(
            name=apply.__name__,
            says=says,
            adapter=adapter,
            source=source,
            rule=rule,
            test=test,
            bug=bug,
            module=apply.__module__,
            apply=apply,
            values=values,
            alone=alone,
            options=options,
        )
        if made.name in REGISTRY:
            raise ValueError(f"two mutants have the name {made.name}")
        REGISTRY[made.name] = made
        return made

    return register


def load() -> Mapping[str, Mutant]:
    """Return all mutants of this package by name, in the order of its files."""
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if not path.stem.startswith("_"):
            importlib.import_module(f"mutants.{path.stem}")
    return REGISTRY
