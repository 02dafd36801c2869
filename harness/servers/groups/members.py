"""What all groups of servers have in common: members that start, stop and die together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from harness.backends import Backend
from harness.matrix import Cell
from harness.servers import Server
from harness.servers.places import Place

MakeServer = Callable[[Cell, Backend, Place], Server]
"""Makes one member's server with the provider of the run. Raises NotRunError."""


@dataclass(eq=False)
class Member:
    """One server of a group."""

    name: str
    server: Server
    place: Place
    up: bool = False
    past: str = ""
    """What servers logged that were this member before."""
    operator: Any = None
    """A client of the server, once there was need of one."""

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.place.port}"

    def end(self) -> None:
        """Remove its server with its data, but for the log: another takes its place."""
        self.past = self.logs()
        self.remove()

    def remove(self) -> None:
        """Remove its server with its data."""
        self.up = False
        if self.operator is not None:
            self.operator.close()
            self.operator = None
        self.server.remove()

    def logs(self) -> str:
        """Return all that it logged."""
        return self.past + self.server.logs()


class Members(Mapping[str, Member]):
    """The servers of a group, by name. Each call acts on some of them at the same time."""

    def __init__(self, members: Iterable[Member]) -> None:
        self._members = {member.name: member for member in members}
        # The kernel ends a local server with the thread that started it, not with the process:
        # these threads live as long as the group.
        self._threads = ThreadPoolExecutor(len(self._members), "members")

    def __getitem__(self, name: str) -> Member:
        return self._members[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def each(self, act: Callable[[Member], object], members: Iterable[Member]) -> None:
        """Do something with several members at once; raise what the first of them raised."""
        doing = [self._threads.submit(act, member) for member in members]
        try:
            wait(doing)
        except BaseException:  # interrupted: what has begun must not go on behind our back
            wait(doing)
            raise
        for one in doing:
            one.result()

    def start(self, members: Iterable[Member]) -> None:
        """Start those that are down; return once they answer. Raises StartError."""
        self.each(_start, [member for member in members if not member.up])

    def stop(self, members: Iterable[Member]) -> None:
        """Stop those that are up."""
        self.each(_stop, [member for member in members if member.up])

    def kill(self, members: Iterable[Member]) -> None:
        """Kill those that are up."""
        self.each(_kill, [member for member in members if member.up])

    def cut_power(self, members: Iterable[Member]) -> None:
        """Cut the power of those that are up."""
        self.each(_cut_power, [member for member in members if member.up])

    def remove(self) -> None:
        """Remove all; raise what the first of them raised, once all have been tried."""
        self.each(Member.remove, self.values())

    def logs(self) -> str:
        """Return all that they logged, each under its name."""
        return "".join(
            f"==> {member.name}, {member.address}\n{member.logs().rstrip()}\n\n"
            for member in self.values()
        )

    def cannot(self, event: str) -> str | None:
        """Return why an event cannot happen to one of them, None if it can happen to all."""
        return next(filter(None, (one.server.cannot(event) for one in self.values())), None)


def _start(member: Member) -> None:
    member.server.start()
    member.up = True


def _stop(member: Member) -> None:
    member.up = False
    member.server.stop()


def _kill(member: Member) -> None:
    member.up = False
    member.server.kill()


def _cut_power(member: Member) -> None:
    member.up = False
    member.server.power_cut()
