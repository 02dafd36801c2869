"""How connections are made: what a URL becomes, and within what time."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any

import psycopg
from psycopg import generators
from psycopg._conninfo_attempts import conninfo_attempts
from psycopg._conninfo_attempts_async import conninfo_attempts_async
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq.abc import PGconn
from psycopg.waiting import wait_conn, wait_conn_async

MAX_RECORD_BYTES = 1024 * 1024
"""Longest encoded message or context: far below Postgres's own limit of 1 GiB a value."""
CHECK_INTERVAL = 0.1
"""Seconds between looks for Ctrl-C while waiting for the server."""

ConnectionSettings = dict[str, Any]


def connection_settings(url: str, timeout: float) -> ConnectionSettings:
    """Return libpq's parameters for a ``postgresql://`` URL; raise ValueError if it is none.

    The server ends a statement by itself after ``timeout`` seconds, because nobody waits for
    it any longer; a ``statement_timeout`` in the URL's own options goes before that.
    """
    if not url.startswith(("postgresql://", "postgres://")):
        raise ValueError("the URL must start with postgresql://")
    try:
        settings = conninfo_to_dict(url)
    except psycopg.Error:
        # libpq's message quotes the part it cannot read, which may be the password.
        raise ValueError("the URL cannot be parsed; is its password percent-encoded?") from None
    ports = str(settings.get("port") or "").replace(",", "")
    if "@" in str(settings.get("host") or "") or (ports and not ports.isdigit()):
        # A password with @, : or / in it: the rest of it would show up in messages as a host.
        raise ValueError("the URL's host or port is malformed; is its password percent-encoded?")
    own = f"-c statement_timeout={max(1, round(timeout * 1000))}"
    settings["options"] = f"{own} {settings.get('options') or ''}".strip()
    settings["client_encoding"] = "UTF8"
    settings.setdefault("fallback_application_name", "agent memory")
    return settings


def connect(settings: ConnectionSettings, seconds: float) -> PGconn:
    """Connect within the time, whatever number of hosts and addresses there are to try.

    psycopg's own connect counts in whole seconds, and at least two for each address.
    """
    attempts = conninfo_attempts(settings)
    give_up = monotonic() + seconds
    for left in range(len(attempts), 0, -1):
        share = max(0.001, (give_up - monotonic()) / left)
        conninfo = make_conninfo("", **attempts[-left])
        try:
            pgconn: PGconn = wait_conn(generators.connect(conninfo), CHECK_INTERVAL, share)
        except psycopg.Error:
            if left == 1:
                raise
        else:
            return pgconn
    raise AssertionError("there is at least one address")


async def connect_async(settings: ConnectionSettings, seconds: float) -> PGconn:
    """`connect`, awaited."""
    give_up = monotonic() + seconds
    async with asyncio.timeout(seconds):
        attempts = await conninfo_attempts_async(settings)
        for left in range(len(attempts), 0, -1):
            share = max(0.001, (give_up - monotonic()) / left)
            conninfo = make_conninfo("", **attempts[-left])
            try:
                return await wait_conn_async(generators.connect(conninfo), CHECK_INTERVAL, share)
            except psycopg.Error:
                if left == 1:
                    raise
    raise AssertionError("there is at least one address")
