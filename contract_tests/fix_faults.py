"""Faults between a store and its server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from time import monotonic
from typing import NamedTuple

import pytest

from contract_tests.fix_stores import OpenStore
from harness.faces import LoopThread
from harness.faults import FaultProxy, address_of, addresses_of
from harness.faults.doors import Address
from harness.servers import Server
from harness.servers.topology import Topology, is_group, primary_url

SHORT = 0.2
"""Seconds: a hundred times what a call takes. Silence costs a contract as much."""
FIRST_CALLS = 20
LONGEST_SHORT = 0.8
"""Seconds: contracts wait for many times that."""


class Proxied(NamedTuple):
    """A proxy in front of the cell's server, and the URL that leads through it."""

    proxy: FaultProxy
    url: str


@pytest.fixture(scope="session")
def _network() -> Iterator[LoopThread]:
    """The event loop of all proxies."""
    loop = LoopThread()
    yield loop
    loop.stop()


@pytest.fixture
def new_proxied(server: Server, _network: LoopThread) -> Iterator[Callable[[], Proxied]]:
    """Make proxies, so that stores have faults of their own at the same time."""
    with ExitStack() as proxies:

        def new() -> Proxied:
            proxy = FaultProxy(_upstream(server), _network)
            proxies.enter_context(closing(proxy))
            return Proxied(proxy, proxy.url(server.url))

        yield new


@pytest.fixture
def proxied(new_proxied: Callable[[], Proxied]) -> Proxied:
    """Stand between a store and its server: ``open_store(url=proxied.url, timeout=…)``."""
    return new_proxied()


@pytest.fixture
def timeout(open_store: OpenStore) -> float:
    """A timeout in seconds: short, but many times what a first call takes on this machine now."""
    first_call = min(_seconds(open_store().ping) for _ in range(2))
    return min(LONGEST_SHORT, max(SHORT, FIRST_CALLS * first_call))


def _seconds(call: Callable[[], object]) -> float:
    start = monotonic()
    call()
    return monotonic() - start


def _upstream(server: Server) -> Callable[[], Address] | list[Address]:
    """Return what a proxy is to stand before.

    All members of a group whose clients are told by its servers where to go; elsewhere the one
    that takes writes.
    """
    if is_group(server.url) and isinstance(server, Topology):
        members = [address_of(url) for url in server.member_urls().values()]
        return list(dict.fromkeys([*addresses_of(server.url), *members]))
    return lambda: address_of(primary_url(server))
