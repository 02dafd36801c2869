"""The Postgres stores on a pool of their user's, which ends with them here, or with replicas."""

from __future__ import annotations

from typing import Any

from psycopg_pool import AsyncConnectionPool, ConnectionPool

from stores.postgres import AsyncPostgresStore, PostgresStore
from stores.postgres.settings import Urls

SETTINGS: dict[str, Any] = {
    "min_size": 0,
    # After an outage the next call connects, instead of waiting for a growing pause to end.
    "reconnect_timeout": 0,
    "kwargs": {"connect_timeout": 2},
}
"""What docs/stores.md advises."""


class _PooledStore(PostgresStore):
    pool: ConnectionPool

    def close(self) -> None:
        super().close()
        self.pool.close()


class _PooledAsyncStore(AsyncPostgresStore):
    pool: AsyncConnectionPool

    async def close(self) -> None:
        await super().close()
        await self.pool.close()


def with_pool(url: str, *, max_connections: int = 10, **options: Any) -> PostgresStore:
    """Return a store on a `psycopg_pool.ConnectionPool`."""
    pool = ConnectionPool(url, max_size=max_connections, open=True, **SETTINGS)
    store = _PooledStore(pool, **options)
    store.pool = pool
    return store


async def with_async_pool(
    url: str, *, max_connections: int = 10, **options: Any
) -> AsyncPostgresStore:
    """Return a store on a `psycopg_pool.AsyncConnectionPool` of the running event loop."""
    pool = AsyncConnectionPool(url, max_size=max_connections, open=False, **SETTINGS)
    await pool.open()
    store = _PooledAsyncStore(pool, **options)
    store.pool = pool
    return store


def with_replicas(url: str, *, replicas: Urls | None = None, **options: Any) -> PostgresStore:
    """Return a store that reads on replicas too: any server of the URL, unless others are named."""
    return PostgresStore.from_url(url, replicas=replicas or url, **options)


def with_async_replicas(
    url: str, *, replicas: Urls | None = None, **options: Any
) -> AsyncPostgresStore:
    """`with_replicas`, awaited."""
    return AsyncPostgresStore.from_url(url, replicas=replicas or url, **options)
