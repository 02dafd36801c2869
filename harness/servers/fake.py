"""fakeredis behind a real socket: the fast baseline lane, so that adapters run unchanged."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

from fakeredis import TcpFakeServer
from fakeredis._clients._tcp_server import TCPFakeRequestHandler
from redis.exceptions import ResponseError

from harness.backends import Backend
from harness.matrix import Cell

RECEIVED = 65536
"""Bytes at a time."""


class _Handler(TCPFakeRequestHandler):
    """fakeredis 2.40 closes the connection after every error reply; Redis goes on."""

    disable_nagle_algorithm = True  # else a pipeline of two commands takes 40 ms

    def setup(self) -> None:
        super().setup()
        read = self.current_client.read_response

        def read_response() -> Any:
            try:
                return read()
            except ResponseError as error:
                return error

        self.current_client.read_response = read_response  # type: ignore[method-assign,assignment] # one object's, on purpose
        self.connection.settimeout(None)  # it waits until something comes

    def handle(self) -> None:
        """Read what has come at once; fakeredis reads, and looks for replies, line by line."""
        fake = self.current_client.get_socket()
        with suppress(ConnectionError):
            while data := self.connection.recv(RECEIVED):
                fake.sendall(data)
                while self.current_client.can_read():
                    self.writer.dump(self.current_client.read_response())


class FakeServer:
    """`harness.servers.Server` of fakeredis, in this process."""

    provider = "fake"
    image_digest: str | None = None

    def __init__(self, cell: Cell, backend: Backend) -> None:
        version = tuple(int(part) for part in cell.image.version.split("."))
        self._server = TcpFakeServer(("127.0.0.1", 0), server_version=version)
        self._server.RequestHandlerClass = _Handler
        self._server.daemon_threads = True
        # socketserver lets 5 clients wait to be accepted; the next one loses a second.
        self._server.socket.listen(128)
        self.url = backend.url("127.0.0.1", self._server.server_address[1], "")

    def start(self) -> None:
        threading.Thread(
            target=self._server.serve_forever, args=(0.01,), daemon=True, name="fakeredis"
        ).start()

    def stop(self) -> None:
        raise NotImplementedError("matrix.toml says that fakeredis lacks restart")

    def kill(self) -> None:
        raise NotImplementedError("matrix.toml says that fakeredis lacks kill")

    def power_cut(self) -> None:
        raise NotImplementedError("matrix.toml says that fakeredis lacks power_cut")

    def cannot(self, event: str) -> str | None:
        return None

    def remove(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def logs(self) -> str:
        return ""
