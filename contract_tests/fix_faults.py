"""Faults between a store and its server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import NamedTuple

import pytest

from harness.faults import FaultProxy, address_of
from harness.servers import Server


class Proxied(NamedTuple):
    """A proxy in front of the cell's server, and the URL that leads through it."""

    proxy: FaultProxy
    url: str


@pytest.fixture
def proxied(server: Server) -> Iterator[Proxied]:
    """Stand between a store and its server: ``open_store(url=proxied.url, timeout=…)``."""
    with closing(FaultProxy(lambda: address_of(server.url))) as proxy:
        yield Proxied(proxy, proxy.url(server.url))
