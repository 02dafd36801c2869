"""This project's way: a container for the run, ready in the moment it serves, and attested."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.peers.simple import COUNT
from bench.servers import running
from stores import Message
from stores.postgres import PostgresStore


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    """The server's URL."""
    with running("postgres") as url:
        yield url


@pytest.fixture
def store(url: str, request: pytest.FixtureRequest) -> Iterator[PostgresStore]:
    """A store in a namespace of the test's own."""
    with PostgresStore.from_url(url, namespace=request.node.name, ttl=60) as store:
        yield store


@pytest.mark.parametrize("number", range(COUNT))
def test_simple(store: PostgresStore, number: int) -> None:
    """What goes in comes out."""
    store.append_messages(f"{number}", [Message("user", "hello"), Message("assistant", "hi")])
    assert [one.content for one in store.get_history(f"{number}")] == ["hello", "hi"]
