"""Reading TOML tables strictly: every fault is one line with the key and what is allowed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn

_MISSING = object()


class MatrixError(Exception):
    """matrix.toml, or a name that should be in it, is wrong. The text is one line."""


class Table:
    """One table. Each value is taken by key and type; `done` refuses keys nobody took."""

    def __init__(self, values: Mapping[str, Any], path: str) -> None:
        self.path = path
        self._values = values
        self._taken: set[str] = set()

    def text(self, key: str, default: Any = _MISSING) -> str:
        """Return text; the default where the key is absent."""
        value = self._take(key, default)
        return value if isinstance(value, str) else self._wrong(key, "text", value)

    def optional_text(self, key: str) -> str | None:
        """Return text, or None where the key is absent."""
        return self.text(key) if key in self._values else None

    def flag(self, key: str, *, default: bool) -> bool:
        """Return a boolean; the default where the key is absent."""
        value = self._take(key, default)
        return value if isinstance(value, bool) else self._wrong(key, "true or false", value)

    def integer(self, key: str, least: int) -> int:
        """Return an integer that is not below ``least``."""
        value = self._take(key)
        if type(value) is not int or value < least:
            self._wrong(key, f"an integer >= {least}", value)
        return int(value)

    def seconds(self, key: str) -> float | None:
        """Return a positive number of seconds, or None where the key is absent."""
        if key not in self._values:
            return None
        value = self._take(key)
        if type(value) not in {int, float} or value <= 0:
            self._wrong(key, "a positive number of seconds", value)
        return float(value)

    def choice(self, key: str, allowed: Iterable[str]) -> str:
        """Return text that is one of the allowed."""
        value = self.text(key)
        if value not in list(allowed):
            self._wrong(key, "one of " + ", ".join(allowed), value)
        return value

    def matching(self, key: str, pattern: str, meaning: str) -> str:
        """Return text that matches the whole pattern."""
        value = self.text(key)
        return value if re.fullmatch(pattern, value) else self._wrong(key, meaning, value)

    def texts(
        self, key: str, default: Any = _MISSING, allowed: Iterable[str] | None = None
    ) -> list[str]:
        """Return a list of texts, each one of the allowed."""
        value = self._take(key, default)
        if not isinstance(value, list | tuple) or not all(isinstance(v, str) for v in value):
            self._wrong(key, "a list of texts", value)
        if allowed is not None:
            for text in value:
                if text not in allowed:
                    self._wrong(key, "only of " + ", ".join(allowed), text)
        return list(value)

    def optional_texts(self, key: str, allowed: Iterable[str]) -> frozenset[str] | None:
        """Return a set of texts, or None where the key is absent."""
        return frozenset(self.texts(key, allowed=allowed)) if key in self._values else None

    def text_table(self, key: str, allowed: Iterable[str] | None = None) -> dict[str, str]:
        """Return a table of texts, empty where the key is absent."""
        table = Table(self._mapping(key), self._path(key))
        for name in table._values:
            if allowed is not None and name not in allowed:
                raise MatrixError(f"[{table.path}] {name}: unknown; allowed: {', '.join(allowed)}")
        return {name: table.text(name) for name in table._values}

    def text_lists(self, allowed: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
        """Return the whole table, each value a text or a list of texts as lists."""
        for name in self._values:
            if name not in allowed:
                raise MatrixError(f"[{self.path}] {name}: unknown; allowed: {', '.join(allowed)}")
        return {
            name: [self.choice(name, allowed[name])]
            if isinstance(value, str)
            else self.texts(name, allowed=allowed[name])
            for name, value in self._values.items()
        }

    def plain_table(self, key: str) -> dict[str, Any]:
        """Return a table of any values, empty where the key is absent."""
        return dict(self._mapping(key))

    def table(self, key: str) -> Table:
        """Return a table that must be there."""
        value = self._take(key)
        if not isinstance(value, dict):
            self._wrong(key, "a table", value)
        return Table(value, self._path(key))

    def tables(self) -> Iterator[tuple[str, Table]]:
        """Yield every value by name: all must be tables."""
        for name in self._values:
            yield name, self.table(name)

    def rows(self, key: str) -> list[Table]:
        """Return a list of tables, empty where the key is absent."""
        value = self._take(key, [])
        if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
            self._wrong(key, "a list of tables", value)
        return [Table(row, f"{self._path(key)}[{i}]") for i, row in enumerate(value)]

    def identifier(self, name: str) -> str:
        """Return a name fit for a cell's id; nox reads ids as Python expressions."""
        if not re.fullmatch(r"[a-z0-9_]+", name):
            raise MatrixError(f"[{self.path}]: the name {name!r} may have only a-z, 0-9 and _")
        return name

    def done(self) -> None:
        """Raise MatrixError for the first key that nobody took."""
        for key in self._values:
            if key not in self._taken:
                known = ", ".join(sorted(self._taken))
                raise MatrixError(f"[{self.path}] {key}: unknown key; allowed: {known}")

    def _mapping(self, key: str) -> Mapping[str, Any]:
        value = self._take(key, {})
        return value if isinstance(value, dict) else self._wrong(key, "a table", value)

    def _take(self, key: str, default: Any = _MISSING) -> Any:
        self._taken.add(key)
        value = self._values.get(key, default)
        if value is _MISSING:
            raise MatrixError(f"[{self.path}] {key}: missing")
        return value

    def _path(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key

    def _wrong(self, key: str, allowed: str, value: object) -> NoReturn:
        raise MatrixError(f"[{self.path}] {key}: must be {allowed}, not {value!r}")
