"""One Redis of a group: its configuration file, and the commands by which a group is led."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from redis import Redis

from harness.backends.programs import write_secret
from harness.backends.redis import RedisBackend
from harness.polling import eventually
from harness.servers.groups.members import Member
from harness.servers.places import Place

REPLICA, SENTINEL = "replica", "sentinel"
"""Users of Redis, so that members can be kept away from each other and clients not."""
PATIENCE = 10.0
"""Seconds for one command; busy disks may take five."""
IN_CONTAINER = (
    "test -e server.conf || "
    '(umask 077; printf "%s\\n" "$MEMBER_CONFIGURATION" > server.conf; sync server.conf .); '
    'exec docker-entrypoint.sh redis-server /data/server.conf "$@"'
)
"""The file stays over restarts and power cuts: Redis writes there who its primary is."""


class RedisMember(RedisBackend):
    """Redis with a configuration file of its own, which it may rewrite. No secret is elsewhere."""

    def __init__(self, place: Place, lines: Sequence[str], *, sentinel: bool = False) -> None:
        super().__init__()
        own = [f"port {place.port}", "bind 127.0.0.1", f"requirepass {place.password}"]
        self._text = "\n".join([*own, *lines]) + "\n"
        self._flags = ["--sentinel"] if sentinel else []

    def prepare(
        self, program: Path, directory: Path, data: Path, password: str, user: str | None
    ) -> None:
        write_secret(directory / "server.conf", self._text, user)

    def local_command(self, program: Path, directory: Path, data: Path, port: int) -> list[str]:
        return [*super().local_command(program, directory, data, port), *self._flags]

    def container_arguments(self, settings: Mapping[str, str], password: str) -> list[str]:
        return ["sh", "-c", IN_CONTAINER, "sh", *self._flags, *self.arguments(settings)]

    def container_environment(self, password: str) -> dict[str, str]:
        return {"MEMBER_CONFIGURATION": self._text}


def following(password: str) -> list[str]:
    """Return the lines by which a member follows others, and lets others follow it."""
    return [
        f"masteruser {REPLICA}",
        f"masterauth {password}",
        *(f"user {user} on >{password} ~* &* +@all" for user in (REPLICA, SENTINEL)),
    ]


@contextmanager
def control(member: Member, *, text: bool = True) -> Iterator[Any]:
    """Connect to a member as its operator (redis-py's own types say little).

    The connection is kept: a group is asked hundreds of times what it makes of an event.
    """
    if not text:
        with closing(_operator(member, text=False)) as client:
            yield client
        return
    if member.operator is None:
        member.operator = _operator(member, text=True)
    yield member.operator


def _operator(member: Member, *, text: bool) -> Redis:
    limits = {"socket_timeout": PATIENCE, "socket_connect_timeout": PATIENCE}
    return Redis.from_url(member.server.url, **limits, decode_responses=text, protocol=2)


def follow(member: Member, primary: Member) -> None:
    """Let a member replicate a primary, now and after its next start, as a sentinel does.

    Its clients are sent away: they took it for something else.
    """
    with control(member) as client:
        client.replicaof("127.0.0.1", primary.place.port)
        client.config_rewrite()
        client.execute_command("CLIENT", "KILL", "TYPE", "normal")
        client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")


def follows(member: Member, primary: Member) -> bool:
    """Tell whether a member is told to replicate a primary."""
    with control(member) as client:
        role = client.role()
    return bool(role[0] == "slave" and role[2] == primary.place.port)


def out_of_step(primary: Member, replicas: Sequence[Member]) -> str:
    """Return what keeps replicas from being in step with their primary, nothing if nothing does."""
    with control(primary) as client:
        seen = client.info("replication")
    if seen["role"] != "master":
        return f"{primary.name} is no primary"
    online = {
        entry["port"]
        for name, entry in seen.items()
        if name.startswith("slave") and isinstance(entry, dict) and entry["state"] == "online"
    }
    for replica in replicas:
        if replica.place.port not in online:
            return f"{replica.name} is not online at {primary.name}"
        if not linked(replica):
            return f"{replica.name} has no link to {primary.name}"
    return ""


def linked(replica: Member) -> bool:
    """Tell whether a replica has all of its primary's data, gets what comes, and could be stopped.

    While it writes what it has got to its disk, Redis refuses SIGTERM.
    """
    with control(replica) as client:
        link = client.info("replication").get("master_link_status")
        on_disk = client.info("persistence")
    writing = on_disk["aof_rewrite_in_progress"] or on_disk["aof_rewrite_scheduled"]
    return bool(link == "up" and not writing)


@contextmanager
def kept_away(member: Member, *users: str) -> Iterator[None]:
    """Let other members neither connect to this one nor stay connected, in the block."""
    with control(member) as client:
        for user in users:
            client.acl_setuser(user, enabled=False)
            client.execute_command("CLIENT", "KILL", "USER", user)
        eventually(lambda: not any(one["user"] in users for one in client.client_list()), PATIENCE)
    try:
        yield
    finally:
        if member.up:
            with control(member) as client:
                for user in users:
                    client.acl_setuser(user, enabled=True)


@contextmanager
def minding_replicas(members: Sequence[Member]) -> Iterator[None]:
    """Let a primary refuse writes unless a replica follows it, in the block."""
    for member in members:
        with control(member) as client:
            client.config_set("min-replicas-to-write", 1)
    try:
        yield
    finally:
        for member in members:
            if member.up:
                with control(member) as client:
                    client.config_set("min-replicas-to-write", 0)
