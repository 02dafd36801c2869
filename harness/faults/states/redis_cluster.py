"""The state in which a Redis Cluster refuses calls (Redis docs: cluster specification)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any
from urllib.parse import unquote, urlsplit

from redis import Redis, exceptions

from harness.faults.states.redis import RedisStates
from harness.polling import eventually

STATES: tuple[str, ...] = ("CLUSTERDOWN",)
SLOT = 0
SECONDS = 10.0
"""The nodes tell each other of slots about once a second."""


class ClusterStates(RedisStates):
    """`harness.faults.states.States` of a Redis Cluster: those of all its servers together."""

    names = STATES

    @contextmanager
    def hold(self, name: str) -> Iterator[None]:
        """Let nobody serve one of the slots: then no node serves any."""
        with ExitStack() as closing_all:
            nodes = [closing_all.enter_context(node) for node in _nodes(self._server.url)]
            owner, owner_id = _owner(nodes)
            owner_first = [owner, *(node for node in nodes if node is not owner)]
            try:
                assert eventually(lambda: _taken_away(owner_first), SECONDS)
                yield
            finally:
                with suppress(exceptions.ResponseError):  # it has it
                    owner.execute_command("CLUSTER", "ADDSLOTS", SLOT)
                for node in owner_first[1:]:
                    with suppress(exceptions.ResponseError):  # a replica, which hears of it
                        node.execute_command("CLUSTER", "SETSLOT", SLOT, "NODE", owner_id)
                assert eventually(lambda: _all(nodes, "ok"), SECONDS)


def _nodes(url: str) -> Iterator[Any]:
    parts = urlsplit(url)
    login, _, hosts = parts.netloc.rpartition("@")
    for place in hosts.split(","):
        host, _, port = place.rpartition(":")
        password = unquote(login.partition(":")[2]) or None
        yield Redis(host, int(port), password=password, socket_timeout=5, protocol=2)


def _owner(nodes: Sequence[Any]) -> tuple[Any, str]:
    """Return the primary that serves the slot, and its id."""
    for first, last, (_, port, node_id, *_), *_ in nodes[0].execute_command("CLUSTER", "SLOTS"):
        if first <= SLOT <= last:
            ports = {node.connection_pool.connection_kwargs["port"]: node for node in nodes}
            return ports[port], node_id.decode()
    raise AssertionError("nobody serves the slot")


def _taken_away(nodes: Sequence[Any]) -> bool:
    """Take the slot away in the eyes of every node; tell whether all have noticed."""
    for node in nodes:
        with suppress(exceptions.ResponseError):  # nobody's already
            node.execute_command("CLUSTER", "DELSLOTS", SLOT)
    return _all(nodes, "fail")


def _all(nodes: Sequence[Any], state: str) -> bool:
    texts = [node.execute_command("CLUSTER", "INFO").decode() for node in nodes]
    return all(f"cluster_state:{state}" in text for text in texts)
