"""Doors before servers: one where TLS ends, and one that makes a socket file a port."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path
from urllib.parse import urlsplit

from harness.faces import LoopThread

SSL_REQUEST = bytes.fromhex("0000000804d2162f")
"""How a client of Postgres asks for TLS (docs: "SSL Session Encryption")."""
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Door(ABC):
    """A loopback port, or a socket file, behind which another connection begins."""

    def __init__(self, context: ssl.SSLContext | None = None, at: Path | None = None) -> None:
        """Listen, with TLS if there is a context for it."""
        self.served: set[asyncio.Task[None] | None] = set()
        self._loop = LoopThread()
        self._server = self._loop.run(
            asyncio.start_unix_server(self._serve, at)
            if at
            else asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        )
        self.port: int = 0 if at else self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """End it, once the clients have gone."""
        self._loop.run(self._end())
        self._loop.stop()

    @abstractmethod
    async def dial(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Streams:
        """Connect to what is behind, for a client."""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.served.add(asyncio.current_task())
        other_reader, other_writer = await self.dial(reader, writer)
        await asyncio.gather(_copy(reader, other_writer), _copy(other_reader, writer))

    async def _end(self) -> None:
        self._server.close()
        await asyncio.gather(*filter(None, self.served))


class SocketDoor(Door):
    """A port, or another file, for what listens at a socket file, such as Docker."""

    def __init__(self, path: str, at: Path | None = None) -> None:
        self._path = path
        super().__init__(at=at)

    async def dial(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Streams:
        return await asyncio.open_unix_connection(self._path)


class TlsDoor(Door):
    """A door before a database server, behind which TLS ends: `url` leads through it."""

    def __init__(self, url: str, folder: Path) -> None:
        self._behind = urlsplit(url)
        self._context = _certified(folder)
        redis = self._behind.scheme == "redis"  # Postgres begins in plain text
        super().__init__(self._context if redis else None)
        secrets = self._behind.netloc.rpartition("@")[0]
        self.url = self._behind._replace(
            scheme="rediss" if redis else self._behind.scheme,
            netloc=f"{secrets}@127.0.0.1:{self.port}",
            query="ssl_cert_reqs=none" if redis else "sslmode=require",
        ).geturl()

    async def dial(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Streams:
        if self._behind.scheme != "redis":
            assert await reader.readexactly(len(SSL_REQUEST)) == SSL_REQUEST
            writer.write(b"S")
            await writer.start_tls(self._context)
        return await asyncio.open_connection(self._behind.hostname, self._behind.port)


def _certified(folder: Path) -> ssl.SSLContext:
    """Return a server's side of TLS, with a certificate of its own."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
            *("-subj", "/CN=localhost", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(65536):
                writer.write(chunk)
                await writer.drain()
    finally:
        writer.close()
