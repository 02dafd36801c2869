"""What every topology shares: places for its members, and what acts on all of them alike."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence

from harness.backends import Backend
from harness.matrix import Cell
from harness.servers import POLL_SECONDS, StartError, tail
from harness.servers.groups.members import MakeServer, Member, Members
from harness.servers.places import Places

IN_STEP_SECONDS = 20.0
"""How long members may take to find and follow each other. They take one or two."""


class Group(ABC):
    """Members at places of their own; a topology says who they are and what they are told."""

    url: str
    provider: str
    image_digest: str | None = None

    def __init__(self, cell: Cell, make: MakeServer, names: Sequence[str]) -> None:
        self._cell = cell
        self._make = make
        self._places = Places(len(names))
        self._place_of = {name: self._places[number] for number, name in enumerate(names)}
        try:
            self._members = Members([self._member(name) for name in names])
        except BaseException:
            self._places.release()
            raise
        self.provider = self._data()[0].server.provider

    def member_urls(self) -> Mapping[str, str]:
        return {member.name: member.server.url for member in self._data()}

    def cannot(self, event: str) -> str | None:
        return next(filter(None, (member.server.cannot(event) for member in self._data())), None)

    def logs(self) -> str:
        return self._members.logs()

    def remove(self) -> None:
        try:
            self._members.remove()
        finally:
            self._places.release()

    def _member(self, name: str) -> Member:
        place = self._place_of[name]
        return Member(name, self._make(self._row(name), self._software(name), place), place)

    def _data(self) -> list[Member]:
        """Return the members that hold data."""
        return list(self._members.values())

    def _start(self, members: Sequence[Member]) -> None:
        """Start those that are down; return once they answer. Raises StartError."""
        self._members.start(members)
        self.image_digest = members[0].server.image_digest

    @abstractmethod
    def _row(self, name: str) -> Cell:
        """Return the row of one member, whose id names it."""

    @abstractmethod
    def _software(self, name: str) -> Backend:
        """Return the server software as one member runs it."""

    def _wait(self, fault: Callable[[], str]) -> None:
        """Wait until nothing is at fault with the group. Raises StartError saying what is."""
        deadline = time.monotonic() + IN_STEP_SECONDS
        while found := fault():
            if time.monotonic() > deadline:
                raise StartError(
                    f"{self._cell.id}: the servers run, but are not in step after "
                    f"{IN_STEP_SECONDS:g} s: {found}\n{tail(self.logs(), 60)}"
                )
            time.sleep(POLL_SECONDS)
