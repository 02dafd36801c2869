"""The inspector of stores whose records the harness does not know: it looks through the store.

Each look opens the store anew, so that nothing of the one under test (a cache, a connection) is
believed. What is about the server and not about records is asked of its own inspector.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from typing import Any, NoReturn, cast

from harness.backends import Backend
from harness.faces import Loop, features_of
from harness.inspectors import Inspector, RawRecord
from harness.opening import Opening
from stores.errors import NoSuchSession
from stores.interface import MemoryStore


def inspector_of(opening: Opening, software: Backend, loop: Loop) -> Inspector:
    """Return raw access to what a store keeps; through the store where there is no other."""
    server = software.inspector(opening.url, opening.namespace)
    return server if opening.raw_records else cast("Inspector", ThroughStore(server, opening, loop))


class ThroughStore:
    """`harness.inspectors.Inspector` for contracts that do not need ``raw_records``."""

    def __init__(self, server: Inspector, opening: Opening, loop: Loop) -> None:
        """Look as the opening says, and without a TTL: to look changes nothing."""
        self._server = server
        options = {key: value for key, value in opening.options.items() if key != "ttl"}
        self._opening = replace(opening, options=options)
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        """Ask the server's inspector."""
        return getattr(self._server, name)

    def messages(self, session_id: str) -> list[RawRecord]:
        with self._open() as store:
            history = store.get_history(session_id, None) if "history" in features_of(store) else []
        return [
            RawRecord(one.position, one.id, repr(one.message).encode("utf-8", "backslashreplace"))
            for one in history
        ]

    def context(self, session_id: str) -> bytes | None:
        with self._open() as store:
            found = store.load_context(session_id) if "context" in features_of(store) else None
        return None if found is None else repr(found).encode("utf-8", "backslashreplace")

    def present(self, session_id: str) -> bool:
        return bool(self.messages(session_id)) or self.context(session_id) is not None

    def sessions(self) -> set[str]:
        with self._open() as store:
            return set(store.iter_sessions())

    def ttl(self, session_id: str) -> float | None:
        with self._open() as store:
            try:
                left = store.get_ttl(session_id)
            except NoSuchSession:
                raise KeyError(session_id) from None
        return None if left is None else left.total_seconds()

    def part_of(self, session_id: str) -> int:
        """Return 0: which part of the data a session lies in depends on its keys."""
        return 0

    def plant_message(self, session_id: str, position: int, record: bytes) -> None:
        self._refuse()

    def plant_history(self, session_id: str, count: int, record: bytes) -> None:
        self._refuse()

    def plant_context(self, session_id: str, record: bytes) -> None:
        self._refuse()

    def plant_sessions(
        self, session_ids: Iterable[str], record: bytes, ttl: float | None = None
    ) -> None:
        self._refuse()

    def plant_foreign_value(self, session_id: str) -> None:
        self._refuse()

    def delete_message(self, session_id: str, position: int) -> None:
        self._refuse()

    def set_last_position(self, session_id: str, position: int) -> None:
        self._refuse()

    def owner_of(self, session_id: str) -> str:
        self._refuse()

    def uncommitted_append(self, session_id: str, record: bytes) -> AbstractContextManager[None]:
        self._refuse()

    def clear(self) -> None:
        """Delete what the store lists. What it does not goes with the server, which is disposable.

        Whether listing and deleting work is for contracts to tell.
        """
        with suppress(Exception), self._open() as store:
            if "sessions" in features_of(store):
                for session_id in [*store.iter_sessions()]:
                    store.delete_session(session_id)

    def close(self) -> None:
        self._server.close()

    def _open(self) -> MemoryStore:
        return self._opening.open(self._loop)

    def _refuse(self) -> NoReturn:
        raise NotImplementedError("a contract that looks at records needs raw_records")
