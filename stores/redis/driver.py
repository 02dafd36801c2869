"""Where releases of redis-py differ, from 5.0 on: told by what the driver takes, and not by number.

Retries, protocol and time limits differ too, but by default only: the store names them.
"""

from __future__ import annotations

from contextlib import suppress
from inspect import Parameter, signature
from queue import Empty
from typing import Any

from redis import ConnectionPool, exceptions
from redis.connection import AbstractConnection

_GREETING = signature(AbstractConnection.__init__).parameters
_READING = signature(AbstractConnection.read_response).parameters
_TAKING = signature(ConnectionPool.get_connection).parameters

UNNAMED: dict[str, Any] = (
    {"driver_info": None} if "driver_info" in _GREETING else {"lib_name": None, "lib_version": None}
)
"""Arguments of connections that do not tell the server who they are by CLIENT SETINFO, which
would cost a round trip more for each. The older ones are deprecated where the newer is there."""

TO_TAKE = ("_",) if _TAKING["command_name"].default is Parameter.empty else ()
"""Arguments of a pool's ``get_connection``: before 5.3 a command's name, of which nothing
depends; since then naming one is deprecated."""

CODES = {
    exceptions.AskError: "ASK",
    exceptions.BusyLoadingError: "LOADING",
    exceptions.ClusterDownError: "CLUSTERDOWN",
    exceptions.MasterDownError: "MASTERDOWN",
    exceptions.MovedError: "MOVED",
    exceptions.NoPermissionError: "NOPERM",
    exceptions.ReadOnlyError: "READONLY",
    exceptions.TryAgainError: "TRYAGAIN",
}
"""The codes that the driver cuts from a server's answer where it has a type for them. Since 7.2
its exceptions keep it beside the text."""


def code_of(error: BaseException | None) -> str:
    """Return the code that is missing in the text of an error, "" if none is."""
    kept = getattr(error, "status_code", None)
    return str(kept or CODES.get(type(error), ""))


def check_open(connection: Any) -> None:
    """Raise ConnectionError if an awaited connection was reset.

    Writing would tell, but for Python 3.12 and 3.13: there asyncio raises an AttributeError.
    """
    if connection._writer is None or connection._writer.is_closing():  # noqa: SLF001 - no other way
        raise exceptions.ConnectionError("Connection closed by server.")


def is_connected(connection: Any) -> bool:
    """Tell whether a blocking connection is connected. Before 8.0 it has no word for it."""
    told = getattr(connection, "is_connected", None)
    return connection._sock is not None if told is None else bool(told)  # noqa: SLF001 - the same


def close_idle(pool: Any) -> None:
    """Close those connections of a blocking pool that nobody uses: before 7.0 it closes all."""
    if "inuse_connections" in signature(pool.disconnect).parameters:
        pool.disconnect(inuse_connections=False)
        return
    taken = []
    with suppress(Empty):
        while True:
            taken.append(pool.pool.get_nowait())  # nobody else can use what is taken out
    for connection in taken:
        if connection is not None:
            connection.disconnect()
        pool.pool.put_nowait(connection)


def read_reply(connection: Any, seconds: float) -> Any:
    """Return the next reply on a blocking connection, as bytes, within the time."""
    if "timeout" in _READING:
        return connection.read_response(disable_decoding=True, timeout=seconds)
    connection._sock.settimeout(seconds)  # noqa: SLF001 - before 8.0 there is no other way
    return connection.read_response(disable_decoding=True)
