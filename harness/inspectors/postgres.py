"""The inspector of Postgres. Knows the tables of stores/postgres/schema/tables.sql on its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from threading import Lock
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
from psycopg import errors, sql

from harness.inspectors import RawRecord, Work
from harness.polling import eventually

GRANTS = (
    "GRANT USAGE ON SCHEMA agent_memory TO {role}",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA agent_memory TO {role}",
    "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA agent_memory TO {role}",
)
"""What the store needs, as docs/stores.md tells its users."""
TABLES = ("sessions", "messages", "locks")
OF_SESSION = (
    "SELECT session_key FROM agent_memory.sessions WHERE namespace = %s AND session_id = %s"
)
ENSURE = (
    "INSERT INTO agent_memory.sessions (namespace, session_id) VALUES (%s, %s) "
    "ON CONFLICT (namespace, session_id) DO UPDATE SET session_id = excluded.session_id "
    "RETURNING session_key"
)

OTHER_CLIENTS = (
    "pid <> pg_backend_pid() AND backend_type = 'client backend' AND datname = current_database()"
)
"""Of pg_stat_activity. A server that is not ours has databases of others, and their clients."""
READ_COMMITTED = r"-c default_transaction_isolation=read\ committed"
"""Options of connections that are the harness's own, whatever the row's isolation is.

A standby refuses to be serializable, too.
"""


class Line:
    """A connection, of any threads, that is made anew where the server closed it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None
        self._making = Lock()

    def open(self) -> psycopg.Connection[tuple[Any, ...]]:
        """Return the connection."""
        with self._making:
            if self._connection is None or self._connection.closed:
                self._connection = psycopg.connect(
                    self._url,
                    autocommit=True,
                    connect_timeout=30,
                    options=READ_COMMITTED,
                )
            return self._connection

    def close(self) -> None:
        """Close it. Doing so twice is fine."""
        if self._connection is not None:
            self._connection.close()


class PostgresInspector:
    """`harness.inspectors.Inspector` for Postgres. Each call is a transaction of its own."""

    def __init__(self, line: Line, url: str, namespace: str) -> None:
        """Use a line to the server that other inspectors use too."""
        self._line = line
        self._url = url
        self._namespace = namespace.encode()
        self._databases: list[str] = []
        self._roles: list[str] = []
        self._schemas: list[str] = []

    def messages(self, session_id: str) -> list[RawRecord]:
        rows = self._rows(
            "SELECT position, message_id, record FROM agent_memory.messages "
            f"WHERE session_key = ({OF_SESSION}) ORDER BY position",
            *self._named(session_id),
        )
        return [RawRecord(position, name.decode(), record) for position, name, record in rows]

    def context(self, session_id: str) -> bytes | None:
        rows = self._rows(
            "SELECT context FROM agent_memory.sessions WHERE namespace = %s AND session_id = %s",
            *self._named(session_id),
        )
        return rows[0][0] if rows else None

    def present(self, session_id: str) -> bool:
        return bool(self._rows(OF_SESSION, *self._named(session_id)))

    def sessions(self) -> set[str]:
        rows = self._rows(
            "SELECT session_id FROM agent_memory.sessions WHERE namespace = %s", self._namespace
        )
        return {session_id.decode() for (session_id,) in rows}

    def ttl(self, session_id: str) -> float | None:
        rows = self._rows(
            "SELECT extract(epoch FROM expires_at - clock_timestamp())::float8 "
            "FROM agent_memory.sessions WHERE namespace = %s AND session_id = %s",
            *self._named(session_id),
        )
        if not rows:
            raise KeyError(session_id)
        return rows[0][0]  # type: ignore[no-any-return] # the cast in the query says what it is

    def plant_message(self, session_id: str, position: int, record: bytes) -> None:
        ((key,),) = self._rows(ENSURE, *self._named(session_id))
        self._rows(
            "INSERT INTO agent_memory.messages VALUES (%s, %s, %s, clock_timestamp(), %s) "
            "ON CONFLICT (session_key, position) DO UPDATE SET record = excluded.record",
            *(key, position, f"planted-{position}".encode(), record),
        )
        self._rows(
            "UPDATE agent_memory.sessions SET last_position = greatest(last_position, %s) "
            "WHERE session_key = %s",
            *(position, key),
        )

    def plant_history(self, session_id: str, count: int, record: bytes) -> None:
        ((key,),) = self._rows(ENSURE, *self._named(session_id))
        # As a replica applies it: without looking the session up for each message. Others than
        # superusers have to wait for that.
        with suppress(errors.InsufficientPrivilege):
            self._rows("SET session_replication_role = replica")
        try:
            self._rows(
                "INSERT INTO agent_memory.messages "
                "SELECT %s, n, convert_to('planted-' || n, 'UTF8'), clock_timestamp(), %s "
                "FROM generate_series(1, %s) AS n",
                *(key, record, count),
            )
        finally:
            self._rows("RESET session_replication_role")
        self.set_last_position(session_id, count)
        # Else the autovacuum would come for so many new rows, and its reads would count too.
        self._rows("VACUUM (ANALYZE) agent_memory.messages")

    def plant_context(self, session_id: str, record: bytes) -> None:
        ((key,),) = self._rows(ENSURE, *self._named(session_id))
        self._rows(
            "UPDATE agent_memory.sessions SET context = %s, version = 1 WHERE session_key = %s",
            *(record, key),
        )

    def plant_sessions(
        self, session_ids: Iterable[str], record: bytes, ttl: float | None = None
    ) -> None:
        self._rows(
            "INSERT INTO agent_memory.sessions "
            "(namespace, session_id, context, version, expires_at) "
            "SELECT %s, id, %s, 1, clock_timestamp() + %s * interval '1 second' "
            "FROM unnest(%s::bytea[]) AS id",
            *(self._namespace, record, ttl, [session_id.encode() for session_id in session_ids]),
        )

    def plant_foreign_value(self, session_id: str) -> None:
        raise NotImplementedError("matrix.toml says that Postgres lacks foreign_values")

    def plant_neighbours(self) -> None:
        schema = f"neighbour_{uuid4().hex[:12]}"
        self._schemas.append(schema)
        self._run(
            sql.SQL(
                "CREATE SCHEMA {0}; CREATE TABLE {0}.sessions (id text PRIMARY KEY); "
                "CREATE TABLE {0}.messages (id text REFERENCES {0}.sessions ON DELETE CASCADE);"
                "INSERT INTO {0}.sessions VALUES ('a'), ('b'); "
                "INSERT INTO {0}.messages VALUES ('a'), ('b')"
            ).format(sql.Identifier(schema))
        )

    def clear(self) -> None:
        try:
            self._rows(
                "WITH sessions AS (DELETE FROM agent_memory.sessions WHERE namespace = %s) "
                "DELETE FROM agent_memory.locks WHERE namespace = %s",
                *(self._namespace, self._namespace),
            )
        except (errors.InvalidSchemaName, errors.UndefinedTable):
            return

    def delete_message(self, session_id: str, position: int) -> None:
        self._rows(
            f"DELETE FROM agent_memory.messages WHERE session_key = ({OF_SESSION}) "
            "AND position = %s",
            *(*self._named(session_id), position),
        )

    def set_last_position(self, session_id: str, position: int) -> None:
        self._rows(
            "UPDATE agent_memory.sessions SET last_position = %s "
            "WHERE namespace = %s AND session_id = %s",
            *(position, *self._named(session_id)),
        )

    def everything(self) -> Mapping[str, str]:
        tables = self._rows(
            "SELECT schemaname, tablename FROM pg_tables "
            "WHERE schemaname NOT IN ('pg_catalog', 'information_schema', 'agent_memory')"
        )
        found = {
            f"{schema}.{table}": self._digest(
                sql.SQL(
                    "SELECT md5(coalesce(string_agg(t::text, ';' ORDER BY t::text), '')) FROM {} t"
                ).format(sql.Identifier(schema, table))
            )
            for schema, table in tables
        }
        rows = self._rows(
            "SELECT s.namespace, s.session_id, md5(s::text || coalesce(string_agg("
            "  md5(m::text), '' ORDER BY m.position), '')) "
            "FROM agent_memory.sessions s LEFT JOIN agent_memory.messages m USING (session_key) "
            "GROUP BY s.session_key"
        )
        found |= {f"session {namespace!r} {name!r}": digest for namespace, name, digest in rows}
        rows = self._rows("SELECT namespace, session_id, md5(l::text) FROM agent_memory.locks l")
        return found | {f"lock {namespace!r} {name!r}": digest for namespace, name, digest in rows}

    def owner_of(self, session_id: str) -> str:
        return f"session {self._namespace!r} {session_id.encode()!r}"

    def part_of(self, session_id: str) -> int:
        return 0

    @contextmanager
    def uncommitted_append(self, session_id: str, record: bytes) -> Iterator[None]:
        with psycopg.connect(self._url) as other:
            namespace, name = self._named(session_id)
            row = other.execute(
                "INSERT INTO agent_memory.sessions (namespace, session_id, last_position) "
                "VALUES (%s, %s, 1) ON CONFLICT (namespace, session_id) "
                "DO UPDATE SET last_position = sessions.last_position + 1 "
                "RETURNING session_key, last_position",
                [namespace, name],
            ).fetchone()
            assert row is not None
            key, position = row
            other.execute(
                "INSERT INTO agent_memory.messages VALUES (%s, %s, %s, clock_timestamp(), %s)",
                [key, position, uuid4().hex.encode(), record],
            )
            yield

    @contextmanager
    def watching(self) -> Iterator[Work]:
        work = Work(touched=0, commands=[])
        clients, before = self._others(), self._touched()
        yield work
        # A backend hands in its counts as it ends, some time after its client has gone.
        if not eventually(lambda: self._others() <= clients):
            raise TimeoutError("a client of the block is still connected: its work is not counted")
        work.touched = self._touched() - before

    def kill_clients(self) -> None:
        self._rows(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OTHER_CLIENTS}")

    def clients(self) -> list[int]:
        return [len(self._others())]

    def open_transactions(self) -> int:
        ((count,),) = self._rows(
            f"SELECT count(*) FROM pg_stat_activity WHERE {OTHER_CLIENTS} "
            "AND xact_start IS NOT NULL"
        )
        return int(count)

    @contextmanager
    def redefined(self) -> Iterator[None]:
        column = f"added_{uuid4().hex[:12]}"
        for table in TABLES:
            self._rows(f"ALTER TABLE agent_memory.{table} ADD COLUMN {column} text")
        try:
            yield
        finally:
            for table in TABLES:
                self._rows(f"ALTER TABLE agent_memory.{table} DROP COLUMN {column}")

    def refused_urls(self) -> dict[str, str]:
        parts = urlsplit(self._url)
        _, _, hosts = parts.netloc.rpartition("@")
        return {
            "wrong password": parts._replace(
                netloc=f"{parts.username}:{uuid4().hex}@{hosts}"
            ).geturl(),
            "wrong database": parts._replace(path=f"/absent_{uuid4().hex[:12]}").geturl(),
            "no TLS": self._with("sslmode=require"),
        }

    def least_privilege_url(self) -> str:
        role, password = f"least_{uuid4().hex[:8]}", uuid4().hex
        self._roles.append(role)
        self._run(
            sql.SQL("CREATE ROLE {} LOGIN NOINHERIT PASSWORD {}").format(
                sql.Identifier(role), sql.Literal(password)
            )
        )
        for grant in GRANTS:
            self._run(sql.SQL(grant).format(role=sql.Identifier(role)))
        parts = urlsplit(self._url)
        _, _, hosts = parts.netloc.rpartition("@")
        return parts._replace(netloc=f"{role}:{password}@{hosts}").geturl()

    def recoding_urls(self) -> list[str]:
        return [self._with(f"client_encoding={name}") for name in ("LATIN1", "SQL_ASCII")]

    def url_in_zone(self, zone: str) -> str:
        return self._with(f"options=-c%20TimeZone%3D{zone}")

    def record_limit(self, size: int) -> AbstractContextManager[None]:
        raise NotImplementedError("matrix.toml says that Postgres lacks record_limit")

    def fresh_url(self) -> str:
        return self._new_database(sql.SQL(""))

    def narrow_url(self) -> str:
        return self._new_database(
            sql.SQL("ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
        )

    def close(self) -> None:
        for schema in self._schemas:
            self._run(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))
        for database in self._databases:
            self._run(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(database)))
        for role in self._roles:
            self._run(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(role)))

    def _new_database(self, options: sql.SQL) -> str:
        database = f"fresh_{uuid4().hex[:12]}"
        self._run(sql.SQL("CREATE DATABASE {} {}").format(sql.Identifier(database), options))
        self._databases.append(database)
        return urlsplit(self._url)._replace(path=f"/{database}").geturl()

    def _with(self, option: str) -> str:
        """Return the URL with one option more."""
        parts = urlsplit(self._url)
        return parts._replace(query="&".join(filter(None, (parts.query, option)))).geturl()

    def _named(self, session_id: str) -> tuple[bytes, bytes]:
        return self._namespace, session_id.encode()

    def _others(self) -> set[int]:
        rows = self._rows(f"SELECT pid FROM pg_stat_activity WHERE {OTHER_CLIENTS}")
        return {pid for (pid,) in rows}

    def _rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        connection = self._line.open()
        try:
            cursor = connection.execute(query.encode(), parameters)
        except psycopg.OperationalError:
            connection.close()  # a contract that ran out of time may have left a reply on it
            cursor = self._line.open().execute(query.encode(), parameters)
        return cursor.fetchall() if cursor.description else []

    def _run(self, statement: sql.Composed) -> None:
        self._line.open().execute(statement)

    def _digest(self, query: sql.Composed) -> str:
        row = self._line.open().execute(query).fetchone()
        return str(row and row[0])

    def _touched(self) -> int:
        """Count rows and pages touched by clients that have closed their connections."""
        with psycopg.connect(self._url, autocommit=True) as fresh:
            row = fresh.execute(
                "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0) + n_tup_ins + n_tup_upd "
                "  + n_tup_del + heap_blks_hit + heap_blks_read + coalesce(idx_blks_hit, 0) "
                "  + coalesce(idx_blks_read, 0))::bigint "
                "FROM pg_stat_user_tables JOIN pg_statio_user_tables USING (relid) "
                "WHERE pg_stat_user_tables.schemaname = 'agent_memory'"
            ).fetchone()
        return int(row[0] or 0) if row else 0
