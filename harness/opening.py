"""Opening a store under test by its row in matrix.toml."""

from __future__ import annotations

import importlib
import inspect
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.faces import Loop, SyncFace
from harness.matrix import Store
from harness.tables import MatrixError
from stores.interface import AsyncMemoryStore, MemoryStore


@dataclass(frozen=True, slots=True)
class Opening:
    """All that another process needs to open the same store. Holds a URL: never log it."""

    factory: str
    url: str
    namespace: str
    options: Mapping[str, Any]
    raw_records: bool = True
    """Whether inspectors know how the store lays out its records."""

    def open(self, loop: Loop) -> MemoryStore:
        """Open the store, an async one behind its sync face. Its factory may be a coroutine's."""
        made = self._made()
        store = self._checked(loop.run(made) if inspect.iscoroutine(made) else made)
        return SyncFace(store, loop) if isinstance(store, AsyncMemoryStore) else store

    def native(self) -> MemoryStore | AsyncMemoryStore:
        """Open the store as it is, whichever face it has."""
        return self._checked(self._made())

    def _made(self) -> Any:
        return load_factory(self.factory)(self.url, namespace=self.namespace, **self.options)

    def _checked(self, store: Any) -> MemoryStore | AsyncMemoryStore:
        if isinstance(store, MemoryStore | AsyncMemoryStore):
            return store
        raise MatrixError(
            f"{self.factory} gave a {type(store).__name__}, which is neither a MemoryStore nor "
            "an AsyncMemoryStore"
        )

    def __repr__(self) -> str:
        return f"Opening({self.factory}, namespace={self.namespace!r})"


def load_factory(factory: str) -> Any:
    """Import ``package.module:callable.attribute``; raise MatrixError saying which part fails."""
    module_name, _, names = factory.partition(":")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default")  # what a user's packages warn of is no fault here
            target: Any = importlib.import_module(module_name)
        for name in names.split("."):
            target = getattr(target, name)
    except Exception as error:  # a module may raise anything while it is imported
        told = str(error) if isinstance(error, ImportError | AttributeError) else repr(error)
        hint = ""
        if isinstance(error, ModuleNotFoundError):
            hint = "; --with says where it is: a folder, or a requirement as for pip"
        raise MatrixError(f"the store {factory} cannot be loaded: {told}{hint}") from error
    missing = missing_methods(target)
    if missing:
        raise MatrixError(f"the store {factory} lacks {', '.join(missing)}")
    return target


def missing_methods(factory: Any) -> list[str]:
    """Return the methods of the interface that a factory's class has not implemented.

    Of a class, or of a class method; of any other factory nothing is known before it is called.
    """
    made = factory if isinstance(factory, type) else getattr(factory, "__self__", None)
    return sorted(getattr(made, "__abstractmethods__", ()))


def features_known(factory: str) -> frozenset[str] | None:
    """Return what a factory's class offers; None where only an open store could tell."""
    try:
        target = load_factory(factory)
    except MatrixError:
        return None
    made = target if isinstance(target, type) else getattr(target, "__self__", None)
    features: frozenset[str] | None = getattr(made, "features", None)
    return features


def main(factories: Sequence[str]) -> int:
    """Load factories; print what is wrong with them, and return 1 if anything is."""
    faults = []
    for factory in factories:
        try:
            load_factory(factory)
        except MatrixError as error:
            faults.append(str(error))
    print("\n".join([*faults, ""]), end="")
    return 1 if faults else 0


def choose_stores(stores: list[Store], wanted: list[str]) -> list[Store]:
    """Return those of the stores that are wanted by name, all if none is."""
    return [store for store in stores if not wanted or store.name in wanted]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
