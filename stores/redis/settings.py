"""Every setting of a Redis connection that the drivers default differently by version."""

from __future__ import annotations

from typing import Any

MAX_RECORD_BYTES = 1024 * 1024
"""Longest encoded message or context: far below Redis's own limit of 512 MiB a value."""


def connection_settings(timeout: float) -> dict[str, Any]:
    """Return the connection settings that share one operation's timeout, in seconds.

    Waiting for a free connection, connecting and the handshake get a quarter each, so
    that a server that cannot be reached is given up with time left for one more try.
    """
    return {
        "socket_connect_timeout": timeout / 4,
        "socket_timeout": timeout / 4,
        "socket_keepalive": True,
        "health_check_interval": 0,
        # Retries are the store's own: only what is safe to repeat, and within the timeout.
        "retry": None,
        "retry_on_timeout": False,
        "retry_on_error": [],
        "protocol": 2,
        # CLIENT SETINFO would cost a round trip more for each connection.
        "driver_info": None,
    }
