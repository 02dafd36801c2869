"""How connections are made: what a URL becomes, and within what time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from time import monotonic
from typing import Any

import psycopg
from psycopg import pq
from psycopg._conninfo_attempts import conninfo_attempts
from psycopg._conninfo_attempts_async import conninfo_attempts_async
from psycopg._conninfo_utils import split_attempts
from psycopg.abc import PQGenConn
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq.abc import PGconn
from psycopg.waiting import Wait

from stores.postgres.driver import wait_conn, wait_conn_async

MAX_RECORD_BYTES = 1024 * 1024
"""Longest encoded message or context: far below Postgres's own limit of 1 GiB a value."""
Urls = str | Sequence[str]
"""One URL or several; each may name several hosts."""


class ConnectionSettings:
    """Where and how to connect: libpq's parameters, and which host answered last."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self.parameters = dict(parameters)
        self._last: object = None

    def sort(self, attempts: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return attempts in the order to make them: first where the last one succeeded.

        So a machine that is gone, and refuses nothing, costs no time once another was found.
        """
        return sorted(attempts, key=lambda attempt: _address(attempt) != self._last)

    def found(self, attempt: Mapping[str, Any]) -> None:
        """Remember an attempt that succeeded."""
        self._last = _address(attempt)


def _address(attempt: Mapping[str, Any]) -> object:
    return attempt.get("hostaddr"), attempt.get("host"), attempt.get("port")


def connection_settings(url: str, timeout: float) -> ConnectionSettings:
    """Return the settings for a ``postgresql://`` URL; raise ValueError if it is none.

    The server ends a statement by itself after ``timeout`` seconds, because nobody waits for
    it any longer; a ``statement_timeout`` in the URL's own options goes before that. Of several
    hosts the one that takes writes is meant, unless the URL says otherwise.
    """
    parameters = _parsed(url)
    if "," in str(parameters.get("host") or parameters.get("hostaddr") or ""):
        parameters.setdefault("target_session_attrs", "read-write")
    return _settings(parameters, f"-c statement_timeout={max(1, round(timeout * 1000))}")


def replica_settings(urls: Urls, timeout: float, *, unlogged: bool) -> list[ConnectionSettings]:
    """Return the settings for each host of the URLs; raise ValueError as `connection_settings`.

    A standby cannot be serializable; reads of one statement need no more than read committed.
    It has nothing of UNLOGGED tables: ValueError too.
    """
    if urls and unlogged:
        raise ValueError("replicas cannot be read with unlogged=True: they get no unlogged data")
    return [
        _settings(
            {**one, "target_session_attrs": "any"},
            f"-c statement_timeout={max(1, round(timeout * 1000))} "
            "-c default_transaction_isolation=read\\ committed",
        )
        for url in ([urls] if isinstance(urls, str) else urls)
        for one in split_attempts(_parsed(url))
    ]


def _parsed(url: str) -> dict[str, Any]:
    if not url.startswith(("postgresql://", "postgres://")):
        raise ValueError("the URL must start with postgresql://")
    try:
        parameters = conninfo_to_dict(url)
    except psycopg.Error:
        # libpq's message quotes the part it cannot read, which may be the password.
        raise ValueError("the URL cannot be parsed; is its password percent-encoded?") from None
    ports = str(parameters.get("port") or "").replace(",", "")
    if "@" in str(parameters.get("host") or "") or (ports and not ports.isdigit()):
        # A password with @, : or / in it: the rest of it would show up in messages as a host.
        raise ValueError("the URL's host or port is malformed; is its password percent-encoded?")
    return parameters


def _settings(parameters: Mapping[str, Any], options: str) -> ConnectionSettings:
    return ConnectionSettings(
        {
            "fallback_application_name": "agent memory",
            **parameters,
            "options": f"{options} {parameters.get('options') or ''}".strip(),
            "client_encoding": "UTF8",
        }
    )


def connect(settings: ConnectionSettings, seconds: float) -> PGconn:
    """Connect within the time, whatever number of hosts and addresses there are to try.

    psycopg's own connect counts in whole seconds, and at least two for each address.
    """
    give_up = monotonic() + seconds
    attempts = settings.sort(conninfo_attempts(settings.parameters))
    faults: list[psycopg.Error] = []
    for left, attempt in _counted(attempts):
        share = max(0.001, (give_up - monotonic()) / left)
        try:
            with closing(_connecting(attempt)) as made:
                pgconn: PGconn = wait_conn(made, share)
        except psycopg.Error as error:
            faults.append(error)
        else:
            settings.found(attempt)
            return pgconn
    raise _all_failed(faults)


async def connect_async(settings: ConnectionSettings, seconds: float) -> PGconn:
    """`connect`, awaited."""
    give_up = monotonic() + seconds
    faults: list[psycopg.Error] = []
    async with asyncio.timeout(seconds):
        attempts = settings.sort(await conninfo_attempts_async(settings.parameters))
        for left, attempt in _counted(attempts):
            share = max(0.001, (give_up - monotonic()) / left)
            try:
                with closing(_connecting(attempt)) as made:
                    pgconn: PGconn = await wait_conn_async(made, share)
            except psycopg.Error as error:
                faults.append(error)
            else:
                settings.found(attempt)
                return pgconn
    raise _all_failed(faults)


def _connecting(attempt: Mapping[str, Any]) -> PQGenConn[PGconn]:
    """Connect, for psycopg's wait functions; closed half-way, close the half-made connection.

    psycopg's own generator leaves that to the garbage collector, and so to whoever keeps the
    error: the server has the connection as long.
    """
    pgconn = pq.PGconn.connect_start(make_conninfo("", **attempt).encode())
    try:
        yield from _polled(pgconn)
    except BaseException:
        pgconn.finish()
        raise
    pgconn.nonblocking = 1
    return pgconn


def _polled(pgconn: PGconn) -> PQGenConn[None]:
    while pgconn.status != pq.ConnStatus.BAD:
        status = pgconn.connect_poll()
        if status == pq.PollingStatus.OK:
            return
        if status == pq.PollingStatus.FAILED:
            break
        wait = Wait.R if status == pq.PollingStatus.READING else Wait.W
        while not (yield pgconn.socket, wait):
            pass
    raise psycopg.OperationalError(f"connection failed: {pgconn.get_error_message()}")


def _counted(attempts: list[dict[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each attempt with the number that are left, itself included."""
    return zip(range(len(attempts), 0, -1), attempts, strict=True)


def _all_failed(faults: list[psycopg.Error]) -> psycopg.Error:
    """Return what tells why no host would do; the only fault where there is one host."""
    if len(faults) == 1:
        return faults[0]
    return psycopg.OperationalError("; ".join(str(fault) for fault in faults))
