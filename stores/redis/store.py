"""`RedisStore`: the memory of agents in Redis, blocking."""

from __future__ import annotations

import time
from contextlib import suppress
from time import monotonic
from typing import Any, Self, TypeVar, cast

from redis import ConnectionPool, Redis, exceptions
from redis.cluster import RedisCluster

from stores.calls import Call, Pause
from stores.interface import Seconds
from stores.plans import Plans
from stores.redis.clients import Servers, servers_of, servers_of_url
from stores.redis.commands import MAX_RECORD_BYTES, Command, RedisCall, RedisCommands, packed
from stores.redis.connections import LIMIT, own_pool
from stores.redis.driver import TO_TAKE, close_idle, read_reply
from stores.redis.failures import ANSWERED, no_reply, not_sent, refused
from stores.redis.routing import Direct, Hop, Leave, Node
from stores.sync_store import SyncStore, carry_out

Reply = TypeVar("Reply")


class RedisStore(SyncStore):
    """Keeps each session in one Redis hash; every operation is one script or command.

    Args:
        client: a `redis.Redis` or a connection pool of the caller's, one of a Sentinel's
            ``master_for``, or a `redis.cluster.RedisCluster`, which says where to connect, as
            whom, and how many times at most to each server. The store makes its own connections
            there, within its timeout and without the client's retries, and `close` closes
            those alone.
        namespace: sessions of different namespaces never meet.
        ttl: seconds or timedelta that a session lives after its last write; None: for ever.
        timeout: seconds within which every operation ends, with a result or an error.
        max_record_bytes: longest encoded message or context.
    """

    def __init__(
        self,
        client: Redis | ConnectionPool | RedisCluster | Servers,
        *,
        namespace: str,
        ttl: Seconds | None = None,
        timeout: float = 5.0,
        max_record_bytes: int = MAX_RECORD_BYTES,
    ) -> None:
        commands = RedisCommands(namespace)
        super().__init__(
            Plans(commands, ttl=ttl, timeout=timeout, max_record_bytes=max_record_bytes)
        )
        self._servers = client if isinstance(client, Servers) else servers_of(client)
        self._route = self._servers.route(self._plans.timeout)
        self._pools: dict[Node | None, Any] = {}

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        namespace: str,
        ttl: Seconds | None = None,
        timeout: float = 5.0,
        max_connections: int = 10,
        max_record_bytes: int = MAX_RECORD_BYTES,
    ) -> Self:
        """Return a store with a pool of its own for each server.

        The URL is ``redis://…``, ``redis+sentinel://…/service`` or ``redis+cluster://…``, or the
        same with ``rediss`` (docs/stores.md). Connects at the first call. When all
        ``max_connections`` to a server are busy, a call waits a quarter of the timeout for one;
        connecting may take another quarter. Raises ValueError for a URL that cannot be parsed.
        """
        servers: Any = servers_of_url(ConnectionPool.from_url, url, max_connections)
        return cls(
            servers,
            namespace=namespace,
            ttl=ttl,
            timeout=timeout,
            max_record_bytes=max_record_bytes,
        )

    def _carry(self, call: Call[Reply], deadline: float) -> Reply:
        assert isinstance(call, RedisCall)
        if isinstance(self._route, Direct):
            return cast("Reply", self._hop(Hop(call, deadline)))
        reply: Reply = carry_out(self._route.carry(call, deadline), self._step)
        return reply

    def _step(self, step: Hop | Leave | Pause) -> Any:
        if isinstance(step, Pause):
            return time.sleep(step.seconds)
        if isinstance(step, Hop):
            return self._hop(step)
        with suppress(exceptions.RedisError, OSError):  # of connections that nobody needs
            close_idle(self._pool(step.node))
        return None

    def _pool(self, node: Node | None) -> Any:
        if node not in self._pools:
            pool = self._servers.pool or own_pool(self._servers.of(node), self._plans.timeout)
            self._pools.setdefault(node, pool)  # one of two threads' is as good as the other's
        return self._pools[node]

    def _hop(self, hop: Hop) -> Any:
        call, pool = hop.call, self._pool(hop.node)
        LIMIT.deadline = hop.deadline
        try:
            connection: Any = pool.get_connection(*TO_TAKE)
        except (exceptions.RedisError, OSError) as error:
            raise not_sent(call.session_id, error) from error
        try:
            reply = self._talk(connection, hop)
        except ANSWERED as error:
            raise refused(call.session_id, error) from error
        except (exceptions.RedisError, OSError) as error:
            connection.disconnect()
            raise no_reply(call, error) from error
        except BaseException:
            # A reply may still be under way: nobody may ever read it as their own.
            connection.disconnect()
            raise
        finally:
            pool.release(connection)
        return call.parse(reply)

    def _talk(self, connection: Any, hop: Hop) -> Any:
        if monotonic() >= hop.deadline:
            raise not_sent(hop.call.session_id, TimeoutError("connected too late"))
        connection.deadline = hop.deadline  # see `stores.redis.connections`
        _send(connection, hop, hop.call.by_digest())
        try:
            return _reply(connection, hop.deadline)
        except exceptions.NoScriptError:
            _send(connection, hop, hop.call.by_source())
            return _reply(connection, hop.deadline)

    def _disconnect(self) -> None:
        if self._servers.pool is None:
            for pool in tuple(self._pools.values()):
                pool.disconnect()


def _send(connection: Any, hop: Hop, command: Command) -> None:
    if hop.asking:
        connection.send_packed_command([packed(("ASKING",)) + packed(command)])
        _reply(connection, hop.deadline)
    else:
        connection.send_packed_command([packed(command)])


def _reply(connection: Any, deadline: float) -> Any:
    return read_reply(connection, max(0.001, deadline - monotonic()))
