"""Which server is asked, and what a failed try teaches about that. No I/O.

A route carries one call as a generator: it yields hops, a sync or an async shell makes them
and sends back the reply or throws the error in. A try that was certainly not applied may go
elsewhere until the deadline; one whose outcome is unknown never does: `stores.plans` knows
which calls may be sent again.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any, NamedTuple, Protocol, TypeVar

from redis import exceptions

from stores.calls import Page, Pause
from stores.errors import OutcomeUnknown, StoreUnavailable
from stores.redis.commands import RedisCall
from stores.redis.failures import text_of

Reply = TypeVar("Reply")

PAUSE_SECONDS = (0.010, 0.100)
"""Between tries while a failover or a resharding goes on: the first, doubling up to the second."""
QUESTION_SHARE = 4
"""A question where to go may take a quarter of the timeout, like connecting to where that is."""
LEAST_SHARE = 8
"""Another try is worth while with an eighth of the timeout left."""
MOVING = re.compile(r"\b(READONLY|NOREPLICAS|MASTERDOWN|CLUSTERDOWN|LOADING|TRYAGAIN|MOVED|ASK)\b")
"""Codes with which a server refuses what another may take, now or soon (Redis docs: Sentinel
clients, cluster specification)."""
POOL_EXHAUSTED = "No connection available."
"""What redis-py says when all of a pool's connections are in use, which no other server cures."""


class Node(NamedTuple):
    """A server's address. ``sentinel`` says that it is one of the Sentinels."""

    host: str
    port: int
    sentinel: bool = False

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Hop:
    """A step: send the call to a node, None for the only one, before the deadline.

    ``asking`` sends ASKING ahead of it, for a key that is being moved there.
    """

    call: RedisCall[Any]
    deadline: float
    node: Node | None = None
    asking: bool = False


@dataclass(frozen=True, slots=True)
class Leave:
    """A step: close the idle connections to a node that serves no more."""

    node: Node


Journey = Generator[Hop | Leave | Pause, Any, Reply]
"""A call on its way: yields `Hop`, `Leave` and `Pause`, returns the call's reply."""


class Route(Protocol):
    """Knows the servers, and learns. One for all threads and event loops of a store."""

    def carry(self, call: RedisCall[Reply], deadline: float) -> Journey[Reply]:
        """Carry a call; raise only the StoreError family."""


class NobodyAnswersError(StoreUnavailable):
    """None of those who could tell where to go is there: nobody goes on trying."""


class Direct:
    """The route where there is one server."""

    def carry(self, call: RedisCall[Reply], deadline: float) -> Journey[Reply]:
        reply: Reply = yield Hop(call, deadline)
        return reply


class SentinelRoute:
    """The route to the primary of a service that Sentinels watch.

    They are asked at the first call, and again after every failure. ``forced_ip`` is the address
    of the primary whatever they say; ``timeout`` is the store's.
    """

    def __init__(
        self, sentinels: Sequence[Node], service: str, timeout: float, forced_ip: str | None = None
    ) -> None:
        self._sentinels = list(sentinels)
        self._service = service
        self._timeout = timeout
        self._forced_ip = forced_ip
        self._primary: Node | None = None
        self._last: Node | None = None

    def carry(self, call: RedisCall[Reply], deadline: float) -> Journey[Reply]:
        tries = Tries(deadline, self._timeout)
        while True:
            node = self._primary
            try:
                node = node or (yield from self._find(deadline))
                tries.check(node)
                return (yield from self._ask(node, call, deadline))
            except OutcomeUnknown:
                self._forget(node)
                raise
            except StoreUnavailable as error:
                self._forget(node)
                yield from tries.again(node, error)

    def _ask(self, node: Node, call: RedisCall[Reply], deadline: float) -> Journey[Reply]:
        if call.walk not in {None, node}:
            call = call.from_start()  # each server has cursors of its own
        reply: Reply = on_walk((yield Hop(call, deadline, node)), node)
        return reply

    def _forget(self, node: Node | None) -> None:
        if self._primary == node:
            self._primary = None

    def _find(self, deadline: float) -> Journey[Node]:
        """Ask the Sentinels in turn. The first that answers is the first to be asked next time."""
        question, longest = primary_of(self._service), self._timeout / QUESTION_SHARE
        for sentinel in tuple(self._sentinels):
            try:
                found = yield Hop(question, min(deadline, monotonic() + longest), sentinel)
            except StoreUnavailable as error:
                failed = NobodyAnswersError(f"no Sentinel answers: {error}")
                failed.__cause__ = error.__cause__
                continue
            if found is None:
                failed = NobodyAnswersError(f"{sentinel} watches no service {self._service!r}")
                continue
            self._sentinels = [sentinel, *(one for one in self._sentinels if one != sentinel)]
            host, port = found
            node = Node(self._forced_ip or host, port)
            left, self._last, self._primary = self._last, node, node
            if left is not None and left != node:
                yield Leave(left)
            return node
        raise failed


class Tries:
    """The tries of one call that was refused or could not be sent, until its deadline."""

    def __init__(self, deadline: float, timeout: float) -> None:
        self._latest = deadline - timeout / LEAST_SHARE
        self._pauses = pauses()
        self._refused_by: Node | None = None
        self._refusal: StoreUnavailable | None = None

    def check(self, node: Node) -> None:
        """Raise again what the node has refused for good, if it still is the one to ask."""
        if self._refusal is not None and node == self._refused_by:
            raise self._refusal

    def again(self, node: Node | None, error: StoreUnavailable) -> Journey[None]:
        """Pause, or raise the error where another try is useless or too late."""
        pause = next(self._pauses)
        late = monotonic() + pause > self._latest
        if error is self._refusal or late or not may_go_elsewhere(error):
            raise error
        if "NOREPLICAS" in text_of(error.__cause__):
            # Only another primary would take it. The same one would refuse it until the deadline.
            self._refused_by, self._refusal = node, error
        yield Pause(pause)


def pauses() -> Iterator[float]:
    """Yield the pauses between tries, without end."""
    pause, longest = PAUSE_SECONDS
    while True:
        yield pause
        pause = min(2 * pause, longest)


def may_go_elsewhere(error: StoreUnavailable) -> bool:
    """Tell whether the call may work at another server, or at this one when it is ready.

    Not where the server understood the call and refuses the user, or is merely busy.
    """
    cause, said = error.__cause__, text_of(error.__cause__)
    if isinstance(error, NobodyAnswersError):
        return False
    if isinstance(cause, exceptions.AuthenticationError | exceptions.NoPermissionError):
        return False
    if MOVING.search(said):
        return True
    # What is left are other answers, and failures to connect.
    return not isinstance(cause, exceptions.ResponseError) and POOL_EXHAUSTED not in said


def on_walk(reply: Any, walk: Any) -> Any:
    """Return the reply; where it is a page of a listing that goes on, with where it has come to."""
    if isinstance(reply, Page) and reply.cursor is not None:
        return replace(reply, cursor=(walk, reply.cursor[1]))
    return reply


def primary_of(service: str) -> RedisCall[tuple[str, int] | None]:
    """Ask a Sentinel for the address of the primary; None where it knows no such service."""
    return RedisCall(
        session_id="*",
        repeatable=True,
        reads=True,
        parse=lambda reply: reply and (text(reply[0]), int(reply[1])),
        arguments=("SENTINEL", "GET-MASTER-ADDR-BY-NAME", service),
    )


def text(value: bytes | str | None) -> str:
    """Return text as which a server sends names, "" for None."""
    return value.decode() if isinstance(value, bytes) else value or ""
