"""What a URL or a caller's client says of where to connect, and how. Connects to nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import redis.asyncio
import redis.asyncio.sentinel
import redis.cluster
import redis.sentinel

from stores.redis.cluster import ClusterRoute
from stores.redis.connections import Settings
from stores.redis.routing import Direct, Node, Route, SentinelRoute

SENTINEL_PORT, CLUSTER_PORT = 26379, 6379
SENTINEL_POOLS = (
    redis.sentinel.SentinelConnectionPool,
    redis.asyncio.sentinel.SentinelConnectionPool,
)
SENTINEL_CONNECTIONS = (
    redis.sentinel.SentinelManagedConnection,
    redis.asyncio.sentinel.SentinelManagedConnection,
)
ONE_SERVERS_POOLS = (
    redis.ConnectionPool,
    redis.BlockingConnectionPool,
    redis.asyncio.ConnectionPool,
    redis.asyncio.BlockingConnectionPool,
)
OF_THE_CLUSTER = ("redis_connect_func", "response_callbacks")
"""What a cluster's client adds to its connections: READONLY for reads from replicas, for one."""
FORMS = (
    "redis://[[user]:password@]host[:port][/database]",
    "redis+sentinel://[[user]:password@]host[:port][,host[:port]]…/service[/database]",
    "redis+cluster://[[user]:password@]host[:port][,host[:port]]…[/0]",
)


@dataclass(frozen=True)
class Servers:
    """The servers of a store: how to find the one to ask, and how to connect to each.

    ``pool`` is a caller's, of a class that finds its server in its own way: used as it is.
    """

    route: Callable[[float], Route]
    """Makes the route, for the store's timeout in seconds."""
    settings: Settings | None = None
    sentinels: Mapping[Node, Settings] = field(default_factory=dict)
    pool: Any = None

    def of(self, node: Node | None) -> Settings:
        """Return the settings of connections to a node, None for the only server."""
        assert self.settings
        if node is None:
            return self.settings
        if node.sentinel:
            return self.sentinels[node]
        return self.settings.at(node.host, node.port)


def servers_of(client: Any) -> Servers:
    """Return the servers of a client or a pool, sync or async. Raises ValueError for replicas'."""
    if isinstance(client, redis.cluster.RedisCluster):
        connected: Any = client
        one = connected.get_redis_connection(connected.get_nodes()[0])
        kept = Settings.of(one.connection_pool)
        return _cluster(client, kept, client.user_on_connect_func)
    if isinstance(client, redis.asyncio.RedisCluster):
        arguments = dict(client.connection_kwargs)
        kind, most = arguments.pop("connection_class"), arguments.pop("max_connections")
        return _cluster(client, Settings(kind, most, arguments), None)
    pool = getattr(client, "connection_pool", client)
    if isinstance(pool, SENTINEL_POOLS):
        return _sentinel(pool)
    if type(pool) in ONE_SERVERS_POOLS:
        return Servers(lambda _: Direct(), Settings.of(pool))
    return Servers(lambda _: Direct(), pool=pool)


def servers_of_url(make: Callable[..., Any], url: str, max_connections: int) -> Servers:
    """Return the servers of a URL; ``make`` is a pool's ``from_url``.

    Raises ValueError where it cannot be parsed, without a part of it: its password may have
    been taken for something else.
    """
    parsed = _parsed(url)
    if parsed is None:
        forms = ", ".join(FORMS)
        raise ValueError(
            f"the URL must be one of {forms}, or the same with rediss; "
            "is its password percent-encoded?"
        )
    kind, nodes, service, plain = parsed
    settings = Settings.of(make(plain, max_connections=max_connections))
    if kind == "cluster":
        return Servers(lambda timeout: ClusterRoute(nodes, timeout), _without(settings, "db"))
    if kind == "sentinel":
        asked = {node: _without(settings, "db").at(node.host, node.port) for node in nodes}
        return Servers(
            lambda timeout: SentinelRoute(nodes, service, timeout),
            replace(settings, replicas=False),
            asked,
        )
    return Servers(lambda _: Direct(), settings)


def _parsed(url: str) -> tuple[str, list[Node], str, str] | None:
    """Return kind, nodes, service, and the URL of one server with the same settings.

    None where redis-py would not read it as meant: its messages quote what stands where the
    port should be, which may be part of a password with a slash in it, and where the database's
    number should be it takes 0 for anything else.
    """
    try:
        parts = urlsplit(url)
        scheme, _, kind = parts.scheme.partition("+")
        if parts.scheme == "unix":
            return "", [], "", url
        if scheme not in {"redis", "rediss"} or parts.fragment:
            return None
        form = {"": r"()/?\d*", "sentinel": r"/([^/]+)(?:/\d*)?", "cluster": r"()/?0?"}.get(kind)
        path = form and re.fullmatch(form, parts.path)
        if not path:
            return None
        if not kind:
            refused = parts.port == 0 or (parts.port and not parts.hostname)
            return None if refused else ("", [], "", url)
        user, at, hosts = parts.netloc.rpartition("@")
        port = SENTINEL_PORT if kind == "sentinel" else CLUSTER_PORT
        nodes = [_node(host, port, kind == "sentinel") for host in hosts.split(",")]
        database = parts.path.removeprefix(f"/{path[1]}") if kind == "sentinel" else ""
        plain = parts._replace(scheme=scheme, netloc=f"{user}{at}localhost", path=database)
        return kind, nodes, path[1], plain.geturl()
    except ValueError:
        return None


def _node(address: str, port: int, sentinel: bool) -> Node:  # noqa: FBT001 - private
    parts = urlsplit(f"//{address}")
    if not parts.hostname or parts.port == 0 or parts.path or parts.username is not None:
        raise ValueError("no host and port")
    return Node(parts.hostname, parts.port or port, sentinel)


def _sentinel(pool: Any) -> Servers:
    """Return the servers of a `Sentinel.master_for` client's pool."""
    if not pool.is_master:
        raise ValueError("the client reads from replicas: give the store one of master_for()")
    of_primary = Settings.of(pool)
    plain = next(
        kind for kind in pool.connection_class.__mro__ if not issubclass(kind, SENTINEL_CONNECTIONS)
    )
    of_primary = replace(of_primary, connection_class=plain, replicas=False)
    asked = {}
    for sentinel in pool.sentinel_manager.sentinels:
        settings = Settings.of(sentinel.connection_pool)
        at = settings.arguments
        asked[Node(at["host"], at["port"], sentinel=True)] = settings
    forced_ip = getattr(pool.sentinel_manager, "_force_master_ip", None)
    route = partial(_sentinel_route, list(asked), pool.service_name, forced_ip)
    return Servers(route, of_primary, asked)


def _sentinel_route(
    nodes: list[Node], service: str, forced_ip: str | None, timeout: float
) -> Route:
    return SentinelRoute(nodes, service, timeout, forced_ip)


def _cluster(client: Any, settings: Settings, connected: Any) -> Servers:
    """Return the servers of a cluster's client; ``connected`` is its user's callback."""
    manager = client.nodes_manager
    nodes = {
        Node(node.host, int(node.port))
        for node in (*manager.startup_nodes.values(), *manager.nodes_cache.values())
    }
    settings = _without(settings, *OF_THE_CLUSTER)
    if connected is not None:
        settings = replace(
            settings,
            arguments={**settings.arguments, "redis_connect_func": partial(_connect, connected)},
        )
    remap = manager.address_remap
    return Servers(lambda timeout: ClusterRoute(sorted(nodes), timeout, remap), settings)


def _connect(connected: Callable[[Any], object], connection: Any) -> None:
    connection.on_connect()
    connected(connection)


def _without(settings: Settings, *names: str) -> Settings:
    kept = {name: value for name, value in settings.arguments.items() if name not in names}
    return replace(settings, arguments=kept)
