"""No server: what the machinery of cells takes for one where a mock stands in its place."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any

from harness.inspectors import RawRecord
from harness.mocked.memory import SESSIONS, Kept
from stores.calls import RawContext, RawMessage


class MockServer:
    """`harness.servers.Server` that is not there."""

    provider = "mock"
    url = "mock://"
    image_digest: str | None = None

    def start(self) -> None:
        """Do nothing: there is nothing to start."""

    def cannot(self, event: str) -> str | None:
        """Return None: matrix.toml says what a mock lacks."""

    def remove(self) -> None:
        """Do nothing."""

    def logs(self) -> str:
        """Return nothing: a dict has no log."""
        return ""

    def __getattr__(self, name: str) -> Any:
        raise NotImplementedError(f"matrix.toml says that a mock lacks {name}")


class MockBackend:
    """`harness.backends.Backend` of a dict, as far as it has one."""

    def inspector(self, url: str, namespace: str) -> Any:
        """Return raw access to a namespace."""
        return MockInspector(namespace)

    def state_names(self, topology: str) -> tuple[str, ...]:
        """Return one name, under which contracts of states say what they would need."""
        return ("none",)

    def close(self) -> None:
        """Do nothing."""

    def __getattr__(self, name: str) -> Any:
        raise NotImplementedError(f"matrix.toml says that a mock lacks {name}")


class MockInspector:
    """`harness.inspectors.Inspector` of a dict: tests with mocks look into the dict, too."""

    def __init__(self, namespace: str) -> None:
        self._sessions = SESSIONS[namespace]
        self._namespace = namespace

    def messages(self, session_id: str) -> list[RawRecord]:
        kept = self._sessions.get(session_id, Kept())
        ids = {position: name for name, position in kept.ids.items()}
        return [
            RawRecord(position, ids.get(position, ""), raw.record or b"")
            for position, raw in sorted(kept.messages.items())
        ]

    def context(self, session_id: str) -> bytes | None:
        context = self._sessions.get(session_id, Kept()).context
        return context.record if context else None

    def present(self, session_id: str) -> bool:
        return session_id in self._sessions

    def sessions(self) -> set[str]:
        return {*self._sessions}

    def ttl(self, session_id: str) -> float | None:
        ends = self._sessions[session_id].ends
        return None if ends is None else ends - time.monotonic()

    def plant_message(self, session_id: str, position: int, record: bytes) -> None:
        kept = self._sessions.setdefault(session_id, Kept())
        kept.messages[position] = RawMessage(position, time.time_ns() // 1000, record)
        kept.last = max(kept.last, position)

    def plant_context(self, session_id: str, record: bytes) -> None:
        kept = self._sessions.setdefault(session_id, Kept())
        kept.context = RawContext(record, 1)

    def plant_sessions(
        self, session_ids: Iterable[str], record: bytes, ttl: float | None = None
    ) -> None:
        ends = None if ttl is None else time.monotonic() + ttl
        for session_id in session_ids:
            self._sessions[session_id] = Kept(context=RawContext(record, 1), ends=ends)

    def plant_history(self, session_id: str, count: int, record: bytes) -> None:
        for position in range(1, count + 1):
            self.plant_message(session_id, position, record)

    def plant_neighbours(self) -> None:
        """Do nothing: a dict has no neighbours."""

    def clear(self) -> None:
        self._sessions.clear()

    def delete_message(self, session_id: str, position: int) -> None:
        kept = self._sessions[session_id]
        del kept.messages[position]
        kept.ids = {name: place for name, place in kept.ids.items() if place != position}

    def set_last_position(self, session_id: str, position: int) -> None:
        kept = self._sessions[session_id]
        self._sessions[session_id] = replace(kept, last=position)

    def everything(self) -> Mapping[str, str]:
        return {
            f"{namespace}/{session_id!r}": sha256(repr(kept).encode()).hexdigest()
            for namespace, sessions in SESSIONS.items()
            for session_id, kept in sessions.items()
        }

    def owner_of(self, session_id: str) -> str:
        return f"{self._namespace}/{session_id!r}"

    def url_in_zone(self, zone: str) -> str:
        return MockServer.url

    def recoding_urls(self) -> list[str]:
        return []

    def narrow_url(self) -> str:
        return MockServer.url

    def close(self) -> None:
        """Do nothing."""

    def __getattr__(self, name: str) -> Any:
        raise NotImplementedError(f"matrix.toml says that a mock lacks {name}")
