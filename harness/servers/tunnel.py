"""A Docker engine that is reached by ssh: its socket and its ports, on this machine's loopback.

One connection of the user's own ssh, whose aliases, keys, agents and jump hosts all hold. Nothing
is open on the engine's host but to itself.
"""

from __future__ import annotations

import atexit
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

from harness.servers import POLL_SECONDS, free_port
from harness.servers.directories import delete, private_directory
from harness.servers.embedded import die_with_parent

REMOTE_SOCKET = "/var/run/docker.sock"
CONNECT_SECONDS = 15
NEVER_ASK = ("-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_SECONDS}")
"""Nobody is there to type a password: keys or an agent."""


class TunnelError(Exception):
    """ssh did not connect, or not forward. The text is what it said."""


class Tunnel:
    """The connection to one engine's host, open until the process ends."""

    def __init__(self, url: str) -> None:
        """Connect to ``ssh://user@host:port/path/of/socket``. Raises TunnelError."""
        parts = urlsplit(url)
        if not parts.hostname:
            raise TunnelError("the URL names no host, as in ssh://user@host")
        self._host = parts.netloc.rpartition("@")[2].partition(":")[0]
        self._login = [*(["-l", parts.username] if parts.username else [])]
        self._login += ["-p", str(parts.port)] if parts.port else []
        self._directory = private_directory()
        self.socket = self._directory / "docker.sock"
        self._control = self._directory / "control"
        try:
            self._process = self._connected(parts.path or REMOTE_SOCKET)
        except BaseException:
            delete(self._directory)
            raise
        atexit.register(self.close)

    def forward(self, port: int) -> int:
        """Return a port of our loopback that leads to one of the host's. Raises TunnelError."""
        here = port
        while here == port:  # the host may be this machine, and have the port itself
            here = free_port()
        way = f"127.0.0.1:{here}:127.0.0.1:{port}"
        asked = self._ask("-O", "forward", "-o", "ExitOnForwardFailure=yes", "-L", way)
        if asked.returncode:
            raise TunnelError(f"ssh {self._host}: {' '.join(asked.stderr.split())}")
        return here

    def close(self) -> None:
        """End the connection. Doing so twice is fine."""
        self._process.terminate()
        self._process.wait()
        delete(self._directory)

    def _connected(self, remote: str) -> subprocess.Popen[bytes]:
        log = self._directory / "ssh.log"
        with log.open("wb") as said:
            process = subprocess.Popen(
                [
                    *("ssh", "-N", "-M", "-S", str(self._control), *NEVER_ASK, *self._login),
                    *("-o", "ExitOnForwardFailure=yes", "-L", f"{self.socket}:{remote}"),
                    self._host,
                ],
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,  # a terminal's Ctrl-C is ours to handle
                preexec_fn=die_with_parent,  # noqa: PLW1509 - one prctl call, no locks
            )
        deadline = time.monotonic() + 2 * CONNECT_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            if self.socket.exists() and not self._ask("-O", "check").returncode:
                return process
            time.sleep(POLL_SECONDS)
        process.kill()
        process.wait()
        raise TunnelError(f"ssh {self._host}: {_end_of(log)}")

    def _ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Ask the connection for something."""
        return subprocess.run(
            ["ssh", "-S", str(self._control), *NEVER_ASK, *self._login, *words, self._host],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )


def _end_of(log: Path) -> str:
    said = log.read_text(errors="replace").split("\n")
    return " ".join(line.strip() for line in said if line.strip())[-500:] or "it does not answer"
