"""The route through a cluster: which node serves a key's slot, and how that is learnt. No I/O."""

from __future__ import annotations

import re
from binascii import crc_hqx
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any, TypeVar

from stores.calls import Page
from stores.errors import OutcomeUnknown, StoreUnavailable
from stores.redis.commands import RedisCall
from stores.redis.failures import text_of
from stores.redis.routing import (
    QUESTION_SHARE,
    Hop,
    Journey,
    Leave,
    NobodyAnswersError,
    Node,
    Tries,
    on_walk,
    text,
)

SLOTS = 16384
REDIRECTION = re.compile(r"(MOVED|ASK) (\d+) (.*):(\d+)$")
"""Slot, host and port of the node to ask; without a host it is that of the node that says so."""
FREE_REDIRECTS = 2
"""Redirections that are followed without a pause. More mean that nodes do not agree yet."""

Reply = TypeVar("Reply")
Remap = Callable[[tuple[str, int]], tuple[str, int]]


def slot_of(key: bytes) -> int:
    """Return the slot of a key: of what stands between its first braces, if anything does."""
    start = key.find(b"{")
    end = key.find(b"}", start + 1) if start >= 0 else -1
    if end > start + 1:
        key = key[start + 1 : end]
    return crc_hqx(key, 0) % SLOTS


@dataclass(frozen=True, slots=True)
class SlotMap:
    """Which primary serves which slots: ranges (first, last, node)."""

    ranges: tuple[tuple[int, int, Node], ...] = ()
    moved: Mapping[int, Node] = field(default_factory=dict)
    """Slots of which a node has said since that another serves them."""

    def node(self, slot: int) -> Node | None:
        """Return the slot's node, None if none serves it."""
        if slot in self.moved:
            return self.moved[slot]
        return next((node for first, last, node in self.ranges if first <= slot <= last), None)

    @property
    def primaries(self) -> tuple[Node, ...]:
        """All nodes that serve slots."""
        nodes = (*(node for _, _, node in self.ranges), *self.moved.values())
        return tuple(dict.fromkeys(nodes))

    def slots(self, node: Node) -> frozenset[int]:
        """Return all slots of a node."""
        mine = {
            slot
            for first, last, one in self.ranges
            if one == node
            for slot in range(first, last + 1)
        }
        return frozenset(mine)


@dataclass(frozen=True, slots=True)
class Walk:
    """How far a listing of all primaries has come.

    Keys that move from a primary not yet listed to one that was would be missed. So who has got
    slots since its listing began, or is getting some, is listed once more: a key that was not
    there at first was then at its old place, and listed there, or has come since.

    Attributes:
        todo: the nodes to list, the one that is being listed first.
        known: the slots that each node served or imported as it was last put down for listing.
    """

    todo: tuple[Node, ...]
    known: Mapping[Node, frozenset[int]]

    def after(self, holding: Mapping[Node, frozenset[int]]) -> Walk:
        """Return the walk with those to do again, now that nodes serve and import these slots."""
        again = [node for node, slots in holding.items() if slots - self.known.get(node, set())]
        return Walk(tuple(again), {**self.known, **holding})


class ClusterRoute:
    """The route in a cluster, from nodes that are known to begin with; ``timeout`` is the store's.

    ``remap`` turns the address that a node gives into the one at which it is reached.
    """

    def __init__(self, seeds: Iterable[Node], timeout: float, remap: Remap | None = None) -> None:
        self._seeds = tuple(seeds)
        self._timeout = timeout
        self._remap = remap
        self._map = SlotMap()
        self._stale = True
        self._rounds = 0
        self._adviser: tuple[Node, ...] = ()

    def carry(self, call: RedisCall[Reply], deadline: float) -> Journey[Reply]:
        carry: Any = self._list if call.lists else self._send if call.keys else self._ask_all
        reply: Reply = yield from carry(call, deadline)
        return reply

    def _send(self, call: RedisCall[Reply], deadline: float) -> Journey[Any]:
        tries = Tries(deadline, self._timeout)
        redirects, asking = 0, False
        target: Node | None = None
        while True:
            node = target
            try:
                if node is None:
                    node = yield from self._find(call, deadline)
                    tries.check(node)
                return (yield Hop(call, deadline, node, asking))
            except OutcomeUnknown:
                self._stale = True
                raise
            except StoreUnavailable as error:
                target, asking = self._redirected(error, node)
                redirects += 1
                if target is None or redirects > FREE_REDIRECTS:
                    yield from tries.again(node, error)

    def _ask_all(self, call: RedisCall[Reply], deadline: float) -> Journey[Any]:
        """Carry a call that is of no slot to every primary; return the last one's reply."""
        tries = Tries(deadline, self._timeout)
        while True:
            node = None
            try:
                if self._stale:
                    yield from self._learn(deadline)
                for node in self._map.primaries:
                    reply = yield Hop(call, deadline, node)
            except StoreUnavailable as error:
                self._stale = True
                yield from tries.again(node, error)
            else:
                return reply

    def _redirected(self, error: StoreUnavailable, node: Node | None) -> tuple[Node | None, bool]:
        """Return where the answer sends the call, and whether with ASKING; learn from it."""
        said = text_of(error.__cause__)
        redirection = REDIRECTION.match(said)
        if not redirection:
            self._stale = self._stale or not said.startswith("TRYAGAIN")
            return None, False
        code, slot, host, port = redirection.groups()
        target = self._node(host or (node.host if node else ""), int(port))
        if code == "ASK":
            return target, True
        self._map = replace(self._map, moved={**self._map.moved, int(slot): target})
        self._stale, self._adviser = True, (target,)
        return target, False

    def _list(self, call: RedisCall[Reply], deadline: float) -> Journey[Any]:
        """Carry one step of a listing of all primaries; see `Walk`."""
        tries = Tries(deadline, self._timeout)
        walk: Walk | None = call.walk
        while True:
            node = None
            try:
                if walk is None:
                    walk, call = (yield from self._begin(deadline)), call.from_start()
                node = walk.todo[0]
                page: Page = yield Hop(call, deadline, node)
                if page.cursor is not None:
                    return on_walk(page, walk)
                walk = replace(walk, todo=walk.todo[1:])
                if not walk.todo:
                    walk = walk.after((yield from self._holding(deadline)))
                return replace(page, cursor=(walk, 0) if walk.todo else None)
            except StoreUnavailable as error:
                self._stale = True
                yield from tries.again(node, error)
                walk = None  # cursors are a server's own, and another serves its keys now

    def _begin(self, deadline: float) -> Journey[Walk]:
        yield from self._learn(deadline)
        nodes = self._map.primaries
        return Walk(nodes, {node: self._map.slots(node) for node in nodes})

    def _holding(self, deadline: float) -> Journey[dict[Node, frozenset[int]]]:
        """Return the slots that each primary serves or imports now."""
        yield from self._learn(deadline)
        holding = {}
        for node in self._map.primaries:
            imported = yield Hop(IMPORTING, deadline, node)
            holding[node] = self._map.slots(node) | imported
        return holding

    def _find(self, call: RedisCall[Reply], deadline: float) -> Journey[Node]:
        if self._stale:
            yield from self._learn(deadline)
        slot = slot_of(call.keys[0])
        node = self._map.node(slot)
        if node is None:
            self._stale = True
            raise StoreUnavailable(f"no node of the cluster serves slot {slot}")
        return node

    def _learn(self, deadline: float) -> Journey[None]:
        """Ask the nodes in turn for the map; another one first each time, lest one mislead."""
        before = self._map
        known = tuple(dict.fromkeys((*before.primaries, *self._seeds)))
        self._rounds += 1
        first = self._rounds % len(known)
        nodes = dict.fromkeys((*self._adviser, *known[first:], *known[:first]))
        longest = self._timeout / QUESTION_SHARE
        failed: StoreUnavailable | None = None
        for node in nodes:
            try:
                found = yield Hop(MAP, min(deadline, monotonic() + longest), node)
            except StoreUnavailable as error:
                lost = error
                continue
            if not found:
                failed = StoreUnavailable(f"the cluster's node {node} knows of no slots")
                continue
            ranges = ((first, last, host or node.host, port) for first, last, host, port in found)
            self._map = SlotMap(
                tuple((first, last, self._node(host, port)) for first, last, host, port in ranges)
            )
            self._stale, self._adviser = False, ()
            for gone in set(before.primaries) - set(self._map.primaries):
                yield Leave(gone)
            return
        if failed:
            raise failed
        raise NobodyAnswersError(f"no node of the cluster answers: {lost}") from lost.__cause__

    def _node(self, host: str, port: int) -> Node:
        return Node(*(self._remap((host, port)) if self._remap else (host, port)))


def _ranges(reply: Any) -> list[tuple[int, int, str, int]]:
    """Parse CLUSTER SLOTS: (first, last, host, port) of each range's primary."""
    return [
        (int(first), int(last), text(primary[0]), int(primary[1]))
        for first, last, primary, *_ in reply
    ]


def _imported(reply: Any) -> frozenset[int]:
    """Parse CLUSTER NODES: the slots that the node itself is importing."""
    for line in text(reply).splitlines():
        if "myself" in line.split()[2]:
            return frozenset(int(slot) for slot in re.findall(r"\[(\d+)-<-", line))
    return frozenset()


def _question(parse: Callable[[Any], Reply], name: str) -> RedisCall[Reply]:
    return RedisCall(
        session_id="*", repeatable=True, reads=True, parse=parse, arguments=("CLUSTER", name)
    )


MAP = _question(_ranges, "SLOTS")
IMPORTING = _question(_imported, "NODES")
