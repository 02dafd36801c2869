"""Clients of groups of Redis servers, as users of redis-py make them, from the groups' URLs."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import redis.asyncio.cluster
import redis.asyncio.sentinel
import redis.cluster
import redis.sentinel

DRIVER: Any = redis
"""redis-py's own types say little of what is made here."""


def is_cluster(url: str) -> bool:
    """Tell whether the URL is of a cluster."""
    return urlsplit(url).scheme.endswith("+cluster")


def group_client(url: str, *, driver: Any = DRIVER, **options: Any) -> Any:
    """Return a client of those that take writes; ``driver`` is `redis` or `redis.asyncio`.

    Sentinel's and the primary's passwords are the same.
    """
    parts = urlsplit(url)
    login, _, hosts = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    options |= {"password": unquote(password)} if password else {}
    options |= {"username": unquote(user)} if user else {}
    options |= {"ssl": True} if parts.scheme.startswith("rediss") else {}
    options |= dict(parse_qsl(parts.query))
    places = [
        (host, int(port)) for host, _, port in (one.rpartition(":") for one in hosts.split(","))
    ]
    if is_cluster(url):
        nodes = [driver.cluster.ClusterNode(*place) for place in places]
        return driver.cluster.RedisCluster(startup_nodes=nodes, **options)
    _, service, *database = parts.path.split("/")
    of_sentinels = {name: value for name, value in options.items() if name != "max_connections"}
    sentinels = driver.sentinel.Sentinel(places, sentinel_kwargs=of_sentinels, **options)
    return sentinels.master_for(service, db=int(database[0]) if database else 0)
