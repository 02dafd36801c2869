"""Where the members of a group of servers are: loopback ports, and the password of them all."""

from __future__ import annotations

import random
import secrets
import socket
from dataclasses import dataclass

from harness.servers import StartError

LOWEST, HIGHEST = 20000, 22000
BUS = 10000
"""Between a cluster member's port and that of its bus (Redis docs: "Cluster specification").

Both stay below the range from which clients get their ports: 32768 and up on Linux.
"""


@dataclass(frozen=True, slots=True)
class Place:
    """The address of one server on 127.0.0.1, known before it starts; its password, if given."""

    port: int
    password: str


class Places:
    """Places that nobody else gets until they are released, also while their servers are down.

    A port is bound here all the while. Servers set SO_REUSEADDR, and may listen all the same;
    nobody who looks for a free port gets it.
    """

    def __init__(self, count: int) -> None:
        """Reserve so many. Raises StartError where there are not as many free ports."""
        self.password = secrets.token_urlsafe(16)
        self._bound: list[socket.socket] = []
        self._places: list[Place] = []
        for port in random.sample(range(LOWEST, HIGHEST), HIGHEST - LOWEST):
            if len(self._places) == count:
                return
            if self._reserved(port, port + BUS):
                self._places.append(Place(port, self.password))
        self.release()
        raise StartError(f"no {count} free ports between {LOWEST} and {HIGHEST} on 127.0.0.1")

    def __getitem__(self, number: int) -> Place:
        return self._places[number]

    def release(self) -> None:
        """Let others have the ports. Doing so twice is fine."""
        for reserved in self._bound:
            reserved.close()

    def _reserved(self, *ports: int) -> bool:
        bound: list[socket.socket] = []
        for port in ports:
            one = socket.socket()
            bound.append(one)
            try:
                one.bind(("127.0.0.1", port))  # without SO_REUSEADDR: nobody else has it
            except OSError:
                for other in bound:
                    other.close()
                return False
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._bound += bound
        return True
