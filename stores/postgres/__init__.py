"""The Postgres adapters."""

from stores.postgres.aio import AsyncPostgresStore
from stores.postgres.store import PostgresStore
from stores.postgres.sweeper import Sweeper

__all__ = ["AsyncPostgresStore", "PostgresStore", "Sweeper"]
