"""A server that somebody prepared, and named by its URL: used with care, and left as it was."""

from __future__ import annotations

import os
from urllib.parse import SplitResult, unquote, urlsplit

from harness.attestation import AttestationError, attest
from harness.backends import Backend, NotReadyError
from harness.backends.tenants import PORTS, TenantError, tenant
from harness.capabilities import CAPABILITIES
from harness.matrix import STANDALONE, Cell
from harness.options import URL_VARIABLE
from harness.report.secrets import hide, without_passwords
from harness.servers import StartError

HARMLESS = frozenset(
    {
        *("raw_records", "message_ids", "limits", "server_times", "certainty", "deadlines"),
        *("own_connections", "pool_limits", "own_setup"),
        *("tasks", "open_transactions", "isolation_levels", "sweeper", "active_expiry"),
        *("network", "poolers", "monitor", "work_counters", "bulk", "processes", "crowds"),
        *("replica_reads", "foreign_values", "refusal", "eviction", "lasting_sessions", "recency"),
    }
)
"""What contracts may need that leaves a server of somebody else as it was."""
HARM = {
    "restart": "would stop the server",
    "kill": "would kill the server",
    "power_cut": "would cut the server's power",
    "pause": "would freeze the server",
    "changes": "would start other servers with a copy of its data",
    "log_tail": "would cut the server's log",
    "server_states": "would bring the server into states in which it refuses everybody's calls",
    "memory_pressure": "would fill the server's memory, and evict what others keep there",
    "disk_pressure": "would fill the server's disk",
    "record_limit": "would change a setting of the server",
    "accounts": "would create users on the server",
    "connections": "would close the connections of all the server's clients",
    "forgetting": "would make the server forget what all its clients have prepared",
    "failover": "would kill the server",
    "split_brain": "would cut the server off from others",
    "replica_lag": "would hold up the server's replicas",
    "resharding": "would move slots between servers",
}
"""What contracts may need that would not, and why not."""
UNJUDGED = "might change it"
HIDDEN = ("network", "poolers")
"""What takes a proxy that reads along."""


class ExternalServer:
    """`harness.servers.Server` that runs already, and is never stopped, changed or emptied."""

    provider = "external"
    image_digest: str | None = None

    def __init__(self, cell: Cell, backend: Backend) -> None:
        """Take the URL from the environment. Raises StartError where it cannot be one."""
        if cell.image.fake or cell.topology != STANDALONE:
            kind = "a fake" if cell.image.fake else "a group of servers"
            raise StartError(f"{cell.id}: the row is {kind}, and a URL names one real server")
        given = os.environ.get(URL_VARIABLE, "")
        if not given:
            raise StartError(
                f"{cell.id}: --provider external needs the server's URL, by --url or {URL_VARIABLE}"
            )
        self._cell = cell
        self._backend = backend
        parts = _parts(cell, given)
        self.url = parts.geturl()
        self._where = f"the server at {parts.netloc.rpartition('@')[2]}"
        self._tenant = tenant(cell.backend, self.url)
        self._encrypted = False
        _hide_password(parts, cell)

    def start(self) -> None:
        """Look at the server, and begin only if it is disposable and what its row says."""
        try:
            self._look()
            attest(self._cell, self._backend, self)
            self._encrypted = self._tenant.encrypted()
            self.url = self._tenant.move_in()
        except (NotReadyError, TenantError) as error:
            said = without_passwords(" ".join(str(error).split()))
            raise StartError(f"{self._cell.id}: {self._where} cannot be used: {said}") from error
        except AttestationError as error:
            raise StartError(f"{error} ({self._where})") from error

    def stop(self) -> None:
        raise NotImplementedError(HARM["restart"])

    def kill(self) -> None:
        raise NotImplementedError(HARM["kill"])

    def power_cut(self) -> None:
        raise NotImplementedError(HARM["power_cut"])

    def cannot(self, event: str) -> str | None:
        if event in HIDDEN and self._encrypted:
            return "the connection is encrypted, so that no proxy could tell calls from replies"
        if event in HARMLESS or event not in CAPABILITIES:
            return None
        return f"the server is somebody else's: it {HARM.get(event, UNJUDGED)}"

    def remove(self) -> None:
        self._tenant.move_out()

    def logs(self) -> str:
        return f"{self._where} keeps its log\n"

    def _look(self) -> None:
        """Raise unless the server may be used. Writes nothing."""
        self._backend.check(self.url)
        if not self._tenant.marked():
            raise TenantError(
                "it does not say that it is disposable, and nothing was written to it; "
                f"its owner says so by: {self._tenant.marking()}"
            )
        if fault := self._tenant.unfit():
            raise TenantError(fault)


def _hide_password(parts: SplitResult, cell: Cell) -> None:
    """Leave the password out of all reports, unless it is a word that they need elsewhere."""
    elsewhere = f"{cell.id} {parts.scheme} {parts.username} {parts.hostname} {parts.path}"
    for password in {parts.password or "", unquote(parts.password or "")}:
        if password not in elsewhere:
            hide(password)


def _parts(cell: Cell, given: str) -> SplitResult:
    """Return the URL's parts, its port included. No message shows any of it."""
    try:
        parts = urlsplit(given)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise StartError(
            f"{cell.id}: this is no URL of one server; in a password, all but letters and digits "
            "as %XX"
        ) from None
    ports = PORTS[cell.backend]
    if parts.scheme not in ports:
        raise StartError(f"{cell.id}: its server's URL begins with {':// or '.join(ports)}://")
    if not host or "," in parts.netloc:
        raise StartError(f"{cell.id}: the URL must name one host, as {parts.scheme}://HOST:PORT/…")
    if port is None:
        parts = parts._replace(netloc=f"{parts.netloc}:{ports[parts.scheme]}")
    return parts
