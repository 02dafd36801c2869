"""`RedisStore`: the memory of agents in Redis, blocking."""

from __future__ import annotations

from time import monotonic
from typing import Any, Self, TypeVar

from redis import BlockingConnectionPool, ConnectionPool, Redis, exceptions

from stores.calls import Call
from stores.interface import Seconds
from stores.plans import Plans
from stores.redis.commands import MAX_RECORD_BYTES, RedisCall, RedisCommands
from stores.redis.connections import own_pool, pool_of_url
from stores.redis.failures import ANSWERED, no_reply, not_sent, refused
from stores.sync_store import SyncStore

Reply = TypeVar("Reply")


class RedisStore(SyncStore):
    """Keeps each session in one Redis hash; every operation is one script or command.

    Args:
        client: a `redis.Redis` or a connection pool of the caller's, which says where to
            connect, as whom, and how many times at most. The store makes its own connections
            there, within its timeout and without the client's retries, and `close` closes
            those alone.
        namespace: sessions of different namespaces never meet.
        ttl: seconds or timedelta that a session lives after its last write; None: for ever.
        timeout: seconds within which every operation ends, with a result or an error.
        max_record_bytes: longest encoded message or context.
    """

    def __init__(
        self,
        client: Redis | ConnectionPool,
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
        given: Any = client if isinstance(client, ConnectionPool) else client.connection_pool
        # A pool of another class, such as Sentinel's, finds its server in its own way.
        self._owns_pool = type(given) in {ConnectionPool, BlockingConnectionPool}
        self._pool: Any = own_pool(given, self._plans.timeout) if self._owns_pool else given

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
        """Return a store with a pool of its own for a ``redis://`` or ``rediss://`` URL.

        Connects at the first call. When all ``max_connections`` are busy, a call waits a
        quarter of the timeout for one; connecting may take another quarter. Raises ValueError
        for a URL that cannot be parsed.
        """
        return cls(
            pool_of_url(ConnectionPool.from_url, url, max_connections),
            namespace=namespace,
            ttl=ttl,
            timeout=timeout,
            max_record_bytes=max_record_bytes,
        )

    def _carry(self, call: Call[Reply], deadline: float) -> Reply:
        assert isinstance(call, RedisCall)
        try:
            connection: Any = self._pool.get_connection()
        except (exceptions.RedisError, OSError) as error:
            raise not_sent(call.session_id, error) from error
        try:
            reply = self._talk(connection, call, deadline)
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
            self._pool.release(connection)
        result: Reply = call.parse(reply)
        return result

    def _talk(self, connection: Any, call: RedisCall[Reply], deadline: float) -> Any:
        connection.deadline = deadline  # see `stores.redis.connections`
        connection.send_command(*call.by_digest())
        try:
            return _reply(connection, deadline)
        except exceptions.NoScriptError:
            connection.send_command(*call.by_source())
            return _reply(connection, deadline)

    def _disconnect(self) -> None:
        if self._owns_pool:
            self._pool.disconnect()


def _reply(connection: Any, deadline: float) -> Any:
    left = max(0.001, deadline - monotonic())
    return connection.read_response(disable_decoding=True, timeout=left)
