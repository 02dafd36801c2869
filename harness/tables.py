"""Reading TOML tables strictly: every fault is one line with the key and what is allowed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn

_MISSING = object()
MOST_NAMES = 12
"""More allowed names than a line can hold: a message then gives those near the wrong one."""


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
        return value if isinstance(value, str) else self.refuse(key, "text", value)

    def flag(self, key: str, *, default: bool) -> bool:
        """Return a boolean; the default where the key is absent."""
        value = self._take(key, default)
        return value if isinstance(value, bool) else self.refuse(key, "true or false", value)

    def integer(self, key: str, least: int) -> int:
        """Return an integer that is not below ``least``."""
        value = self._take(key)
        if type(value) is not int or value < least:
            self.refuse(key, f"an integer >= {least}", value)
        return int(value)

    def seconds(self, key: str) -> float | None:
        """Return a positive number of seconds, or None where the key is absent."""
        value = self._take(key, None)
        if value is None:
            return None
        if type(value) not in {int, float} or not 0 < value < float("inf"):
            self.refuse(key, "a positive number of seconds", value)
        return float(value)

    def choice(self, key: str, allowed: Iterable[str]) -> str:
        """Return text that is one of the allowed."""
        names, value = list(allowed), self._take(key)
        if value not in names:
            self.refuse(key, f"one of {listed(names, value)}", value)
        return str(value)

    def matching(self, key: str, pattern: str, meaning: str) -> str:
        """Return text that matches the whole pattern."""
        value = self._take(key)
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            self.refuse(key, meaning, value)
        return str(value)

    def optional_matching(self, key: str, pattern: str, meaning: str) -> str | None:
        """Return text that matches the whole pattern, or None where the key is absent."""
        present = self._take(key, None) is not None
        return self.matching(key, pattern, meaning) if present else None

    def texts(
        self, key: str, default: Any = _MISSING, allowed: Iterable[str] | None = None
    ) -> list[str]:
        """Return a list of texts, each one of the allowed."""
        value = self._take(key, default)
        if not isinstance(value, list | tuple) or not all(isinstance(v, str) for v in value):
            self.refuse(key, "a list of texts", value)
        if allowed is not None:
            names = list(allowed)
            for text in value:
                if text not in names:
                    self.refuse(key, f"only of {listed(names, text)}", text)
        return list(value)

    def matching_texts(self, key: str, pattern: str, meaning: str) -> list[str]:
        """Return a list of texts that match the whole pattern, empty where the key is absent."""
        for text in (texts := self.texts(key, ())):
            if not re.fullmatch(pattern, text):
                self.refuse(key, f"a list, each {meaning}", text)
        return texts

    def some_texts(self, key: str, allowed: Iterable[str]) -> list[str]:
        """Return a list of at least one text, each one of the allowed."""
        texts = self.texts(key, allowed=allowed)
        return texts or self.refuse(key, "a list of at least one text", texts)

    def optional_texts(self, key: str, allowed: Iterable[str]) -> frozenset[str] | None:
        """Return a set of texts, or None where the key is absent."""
        present = self._take(key, None) is not None
        return frozenset(self.texts(key, allowed=allowed)) if present else None

    def text_table(self, key: str, allowed: Iterable[str] | None = None) -> dict[str, str]:
        """Return a table of texts, empty where the key is absent."""
        table = Table(self._mapping(key), self._path(key))
        if allowed is not None:
            table.only(allowed)
        return {name: table.text(name) for name in table._values}

    def matching_table(self, key: str, pattern: str, meaning: str) -> dict[str, str]:
        """Return a table of texts that match the whole pattern, empty where the key is absent."""
        table = Table(self._mapping(key), self._path(key))
        return {name: table.matching(name, pattern, meaning) for name in table._values}

    def choices_table(
        self, key: str, allowed: Iterable[str], choices: Iterable[str]
    ) -> dict[str, str]:
        """Return a table of texts, each one of the choices; empty where the key is absent."""
        table = Table(self._mapping(key), self._path(key))
        table.only(allowed)
        return {name: table.choice(name, choices) for name in table._values}

    def text_lists(self, allowed: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
        """Return the whole table, each value a text or a list of texts as lists; none is empty."""
        self.only(allowed)
        if not self._values:
            raise MatrixError(f"[{self.path}]: is empty; allowed: {', '.join(allowed)}")
        return {
            name: [self.choice(name, allowed[name])]
            if isinstance(value, str)
            else self.some_texts(name, allowed[name])
            for name, value in self._values.items()
        }

    def plain_table(self, key: str) -> dict[str, Any]:
        """Return a table of any values, empty where the key is absent."""
        return dict(self._mapping(key))

    def table(self, key: str) -> Table:
        """Return a table that must be there."""
        value = self._take(key)
        if not isinstance(value, dict):
            self.refuse(key, "a table", value)
        return Table(value, self._path(key))

    def has(self, key: str) -> bool:
        """Say whether the key is there."""
        return key in self._values

    def tables(self) -> Iterator[tuple[str, Table]]:
        """Yield every value by name: all must be tables, and there must be one."""
        if not self._values:
            raise MatrixError(f"[{self.path}]: is empty; it must have at least one table")
        for name in self._values:
            yield name, self.table(name)

    def optional_tables(self, key: str) -> Iterator[tuple[str, Table]]:
        """Yield the tables of a table by name, none where the key is absent."""
        table = Table(self._mapping(key), self._path(key))
        for name in table._values:
            yield name, table.table(name)

    def named_tables(self) -> Iterator[tuple[str, Table]]:
        """Yield every value by name; the names become parts of cells' ids.

        nox reads ids as Python expressions, in which a dash is a minus.
        """
        for name, table in self.tables():
            if not re.fullmatch(NAME, name):
                raise MatrixError(f"[{self._path(name)}]: must be {NAME_MEANING}, not {name!r}")
            yield name, table

    def rows(self, key: str) -> list[Table]:
        """Return a list of tables, empty where the key is absent."""
        value = self._take(key, [])
        if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
            self.refuse(key, "a list of tables", value)
        return [Table(row, f"{self._path(key)}[{i}]") for i, row in enumerate(value)]

    def only(self, allowed: Iterable[str]) -> None:
        """Raise MatrixError for the first key that is not one of the allowed."""
        names = list(allowed)
        for key in self._values:
            if key not in names:
                known = listed(sorted(names), key)
                raise MatrixError(f"{self._where(key)}: unknown key; allowed: {known}")

    def done(self) -> None:
        """Raise MatrixError for the first key that nobody took."""
        self.only(self._taken)

    def refuse(self, key: str, allowed: str, value: object) -> NoReturn:
        """Raise MatrixError: the value of a key is not what is allowed."""
        if value is _MISSING:
            raise MatrixError(f"{self._where(key)}: missing; must be {allowed}")
        raise MatrixError(f"{self._where(key)}: must be {allowed}, not {value!r}")

    def _mapping(self, key: str) -> Mapping[str, Any]:
        value = self._take(key, {})
        return value if isinstance(value, dict) else self.refuse(key, "a table", value)

    def _take(self, key: str, default: Any = _MISSING) -> Any:
        self._taken.add(key)
        return self._values.get(key, default)

    def _where(self, key: str) -> str:
        return f"[{self.path}] {_quoted(key)}" if self.path else _quoted(key)

    def _path(self, key: str) -> str:
        return f"{self.path}.{_quoted(key)}" if self.path else _quoted(key)


NAME = r"[a-z0-9_]+"
NAME_MEANING = "a name of a-z, 0-9 and _ only"


def listed(names: Iterable[str], wrong: object) -> str:
    """Return names for a message: all, or of many those near to a wrong one."""
    every = list(names)
    if len(every) <= MOST_NAMES:
        return ", ".join(every)
    from difflib import get_close_matches  # noqa: PLC0415 - only for a typing slip

    close = get_close_matches(str(wrong), every, n=3)
    near = close or [name for name in every if str(wrong) in name] or every
    return f"{len(every)} names, such as {', '.join(near[:3])}"


def _quoted(key: str) -> str:
    """Return a key as TOML wants it: quoted unless it is bare; always on one line."""
    return key if re.fullmatch(r"[\w-]+", key) else repr(key)
