"""Stores whose reads replicas may answer, and what stands between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from typing import Any, NamedTuple, Protocol

import pytest

from contract_tests.fix_faults import Proxied
from contract_tests.fix_stores import OpenStore
from harness.faces import LoopThread
from harness.faults import FaultProxy, address_of
from harness.servers import Server
from harness.servers.topology import Topology, primary_url
from stores.interface import MemoryStore

BY_REPLICAS = "replica_reads"
"""The way to construct a store whose reads may be answered by replicas; without it none are."""


@pytest.fixture(scope="session")
def topology(server: Server) -> Topology:
    """The cell's servers, some of which only answer reads."""
    assert isinstance(server, Topology)
    return server


class OpenReader(Protocol):
    """Opens a store whose reads may be answered by replicas, if it can be opened so."""

    def __call__(self, **options: Any) -> MemoryStore: ...


@pytest.fixture
def open_reader(open_store: OpenStore, topology: Topology, ways: list[str]) -> OpenReader:
    """Open stores of the adapter under test with reads on the replicas."""
    if BY_REPLICAS not in ways:
        return open_store
    return partial(open_store, way=BY_REPLICAS, replicas=topology.replica_urls())


class Between(NamedTuple):
    """Proxies before the primary and before each replica."""

    primary: Proxied
    replicas: list[Proxied]

    @property
    def replica_urls(self) -> list[str]:
        """The URLs that lead through the proxies."""
        return [replica.url for replica in self.replicas]


@pytest.fixture
def new_between(topology: Topology, _network: LoopThread) -> Iterator[Callable[[], Between]]:
    """Make proxies, so that stores have faults of their own at the same time."""
    with ExitStack() as proxies:

        def proxied(url: str) -> Proxied:
            proxy = FaultProxy(partial(address_of, url), _network)
            return Proxied(proxies.enter_context(closing(proxy)), proxy.url(url))

        def new() -> Between:
            replicas = [proxied(url) for url in topology.replica_urls()]
            return Between(proxied(primary_url(topology)), replicas)

        yield new
