"""What the Redis stores read in a URL or a caller's client: which servers, how, and no secrets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel

from stores.redis import RedisStore
from stores.redis.clients import Servers, servers_of, servers_of_url
from stores.redis.routing import Node


def read(url: str) -> Servers:
    return servers_of_url(redis.ConnectionPool.from_url, url, 3)


def arguments(servers: Servers, node: Node | None) -> Mapping[str, Any]:
    return servers.of(node).arguments


def test_sentinels_are_asked_with_the_password_of_the_primary() -> None:
    servers = read("redis+sentinel://:p%40ss@one:1,[::1],three:3/the%20service/2")
    assert list(servers.sentinels) == [
        Node("one", 1, sentinel=True),
        Node("::1", 26379, sentinel=True),
        Node("three", 3, sentinel=True),
    ]
    asked = arguments(servers, Node("one", 1, sentinel=True))
    assert (asked["host"], asked["port"], asked["password"]) == ("one", 1, "p@ss")
    assert "db" not in asked  # Sentinels have no databases
    primary = arguments(servers, Node("four", 4))
    assert (primary["host"], primary["port"], primary["db"]) == ("four", 4, 2)
    assert not servers.of(Node("four", 4)).replicas


def test_a_clusters_nodes_are_those_of_the_url_to_begin_with() -> None:
    servers = read("rediss+cluster://user:pw@one,two:2/0?ssl_cert_reqs=none")
    settings = servers.of(Node("two", 2))
    assert settings.connection_class is redis.SSLConnection
    assert settings.arguments["username"] == "user"
    assert settings.arguments["ssl_cert_reqs"] == "none"
    assert settings.max_connections == 3


@pytest.mark.parametrize("kind", ["redis", "redis+sentinel", "rediss+sentinel", "redis+cluster"])
@pytest.mark.parametrize("secret", ["half/left", "half#left", "half?left", "12/left", "12?left"])
def test_a_refused_url_is_not_quoted(kind: str, secret: str) -> None:
    path = "/service/0" if "sentinel" in kind else "/0"
    with pytest.raises(ValueError, match="percent-encoded") as raised:
        RedisStore.from_url(f"{kind}://:{secret}@host:1,host:2{path}", namespace="n")
    assert "half" not in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://host:1",  # no service
        "redis+sentinel://host:1/",
        "redis+sentinel://host:1/service/x",
        "redis+sentinel://host:1,/service",
        "redis+sentinel://host:0/service",
        "redis+sentinel://host:70000/service",
        "redis+cluster://host:1/1",  # a cluster has one database
        "redis+cluster:///0",
        "redis+other://host:1/0",
        "http://host:1/0",
    ],
)
def test_what_cannot_be_meant_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="the URL must be one of"):
        read(url)


@pytest.mark.parametrize("module", [redis.sentinel, redis.asyncio.sentinel])
def test_a_sentinels_client_says_where_the_sentinels_are(module: Any) -> None:
    sentinel = module.Sentinel([("one", 1)], sentinel_kwargs={"password": "a"}, password="b")
    servers = servers_of(sentinel.master_for("service", db=2))
    asked = arguments(servers, Node("one", 1, sentinel=True))
    assert (asked["host"], asked["port"], asked["password"]) == ("one", 1, "a")
    primary = servers.of(Node("four", 4))
    assert (primary.arguments["password"], primary.arguments["db"]) == ("b", 2)
    assert primary.connection_class.__name__ == "Connection"
    with pytest.raises(ValueError, match="master_for"):
        servers_of(sentinel.slave_for("service"))


def test_an_async_clusters_client_says_which_nodes_it_began_with() -> None:
    client = redis.asyncio.RedisCluster(host="one", port=1, password="pw", max_connections=4)
    settings = servers_of(client).of(Node("two", 2))
    assert settings.arguments["password"] == "pw"
    assert settings.max_connections == 4
