"""A tenant of a Postgres: it has a database of its own, and leaves all others alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
from psycopg import sql

from harness.backends.tenants import MARKER, TenantError
from harness.servers.ownership import is_gone, owner

PREFIX = "memory_matrix_"
PATIENCE = 10


class PostgresTenant:
    """`harness.backends.tenants.Tenant` for Postgres."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._database: str | None = None

    def marked(self) -> bool:
        comment = self._value(
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database "
            "WHERE datname = current_database()"
        )
        return str(comment or "").strip() == MARKER

    def mark(self) -> None:
        self._comment(str(self._value("SELECT current_database()")), MARKER)

    def marking(self) -> str:
        parts = urlsplit(self._url)
        name = self._value("SELECT quote_ident(current_database())")
        return (
            f"psql -h {parts.hostname} -p {parts.port} -U {parts.username} -d {name} "
            f"-c \"COMMENT ON DATABASE {name} IS '{MARKER}'\""
        )

    def unfit(self) -> str | None:
        if self._value("SELECT pg_is_in_recovery()"):
            return "it is a standby, and takes no writes"
        if not self._value(
            "SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"
        ):
            return "its user may not create the database in which a run works (CREATEDB)"
        return None

    def encrypted(self) -> bool:
        with self._connected() as connection:
            return bool(connection.pgconn.ssl_in_use)

    def move_in(self) -> str:
        self._remove_abandoned()
        self._database = f"{PREFIX}{uuid4().hex[:12]}"
        self._run("CREATE DATABASE {} TEMPLATE template0", sql.Identifier(self._database))
        self._comment(self._database, owner())
        return urlsplit(self._url)._replace(path=f"/{self._database}").geturl()

    def move_out(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            self._drop(database)

    def _remove_abandoned(self) -> None:
        """Drop the databases of runs of this machine that were killed."""
        with self._connected() as connection:
            found = connection.execute(
                "SELECT datname, shobj_description(oid, 'pg_database') FROM pg_database "
                "WHERE starts_with(datname, %s)",
                [PREFIX],
            ).fetchall()
        for name, mark in found:
            if is_gone(mark or ""):
                self._drop(name)

    def _drop(self, database: str) -> None:
        self._run("DROP DATABASE IF EXISTS {} WITH (FORCE)", sql.Identifier(database))

    def _comment(self, database: str, text: str) -> None:
        self._run("COMMENT ON DATABASE {} IS {}", sql.Identifier(database), sql.Literal(text))

    def _value(self, query: str) -> object:
        with self._connected() as connection:
            row = connection.execute(query.encode()).fetchone()
        return row and row[0]

    def _run(self, statement: str, *parts: sql.Composable) -> None:
        with self._connected() as connection:
            connection.execute(sql.SQL(statement).format(*parts))

    @contextmanager
    def _connected(self) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
        try:
            with psycopg.connect(
                self._url, connect_timeout=PATIENCE, autocommit=True
            ) as connection:
                yield connection
        except psycopg.Error as error:
            raise TenantError(" ".join(str(error).split())) from error
