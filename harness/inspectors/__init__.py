"""Out-of-band access to what a store keeps: plants and reads raw records, uses no store code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class RawRecord:
    """One message as the server holds it."""

    position: int
    message_id: str
    record: bytes


@dataclass(slots=True)
class Work:
    """What the server did meanwhile: commands with their arguments, and what they touched.

    ``touched`` counts fields (Redis) or rows and pages (Postgres), not seconds.
    """

    touched: int
    commands: list[str]


class Inspector(Protocol):
    """Raw access to one namespace."""

    def messages(self, session_id: str) -> list[RawRecord]:
        """Return the session's messages by position, expired ones too if still there."""

    def context(self, session_id: str) -> bytes | None:
        """Return the context's record."""

    def present(self, session_id: str) -> bool:
        """Tell whether anything of the session takes room, though it may have expired."""

    def sessions(self) -> set[str]:
        """Return the ids of all sessions that take room."""

    def ttl(self, session_id: str) -> float | None:
        """Return the seconds left, None for ever. Raises KeyError where there is no session."""

    def plant_message(self, session_id: str, position: int, record: bytes) -> None:
        """Put a record at a position, as an earlier release or a fault would have left it."""

    def plant_history(self, session_id: str, count: int, record: bytes) -> None:
        """Put so many messages with the same record into a new session, in one go."""

    def plant_context(self, session_id: str, record: bytes) -> None:
        """Put a record in the context's place."""

    def plant_sessions(
        self, session_ids: Iterable[str], record: bytes, ttl: float | None = None
    ) -> None:
        """Put many sessions with this context, in one go; they live for so many seconds."""

    def plant_foreign_value(self, session_id: str) -> None:
        """Put a value of quite another type in the session's place."""

    def plant_neighbours(self) -> None:
        """Put data of other applications next to the store's."""

    def clear(self) -> None:
        """Delete all of the namespace, and nothing else."""

    def delete_message(self, session_id: str, position: int) -> None:
        """Take one message out, as an operator's trim would."""

    def set_last_position(self, session_id: str, position: int) -> None:
        """Preset the counter of an existing session."""

    def everything(self) -> Mapping[str, str]:
        """Return a digest of all that the server holds, by key or row."""

    def owner_of(self, session_id: str) -> str:
        """Return the prefix that the session's own entries in `everything` have."""

    def part_of(self, session_id: str) -> int:
        """Return the number of the part of the data in which the session lies.

        Parts move between servers as a whole. Where there are none, all is part 0.
        """

    def uncommitted_append(self, session_id: str, record: bytes) -> AbstractContextManager[None]:
        """Append by another client whose transaction commits when the block ends."""

    def watching(self) -> AbstractContextManager[Work]:
        """Measure what other clients make the server do in the block. Close them before its end."""

    def kill_clients(self) -> None:
        """Close the connections of all other clients from the server's side."""

    def clients(self) -> list[int]:
        """Count the connections of other clients, at each server that takes writes."""

    def open_transactions(self) -> int:
        """Count the transactions of other clients that are open now."""

    def redefined(self) -> AbstractContextManager[None]:
        """Invalidate what clients have prepared on the server, as the block begins and ends."""

    def refused_urls(self) -> dict[str, str]:
        """Return URLs that the server refuses, by what is wrong with each."""

    def least_privilege_url(self) -> str:
        """Return a URL for a new user who may do only what docs/stores.md asks for."""

    def recoding_urls(self) -> list[str]:
        """Return URLs whose client settings recode text on its way."""

    def url_in_zone(self, zone: str) -> str:
        """Return a URL whose clients' sessions keep a time zone, where the server knows any."""

    def record_limit(self, size: int) -> AbstractContextManager[None]:
        """Make the server refuse values over so many bytes, in the block."""

    def fresh_url(self) -> str:
        """Return a URL under which nothing was ever stored, not even a schema."""

    def narrow_url(self) -> str:
        """Return a URL of a place whose encoding lacks most text, where the server has such."""

    def close(self) -> None:
        """Close its connections and drop the databases, users and neighbours that it made."""
