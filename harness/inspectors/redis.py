"""The inspector of Redis. Knows the layout of stores/redis/prelude.lua on its own."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from redis import RedisCluster, exceptions
from redis.crc import key_slot
from redis.sentinel import SentinelConnectionPool

from harness.inspectors import RawRecord, Work

WHOLE_KEY = {"HGETALL", "HKEYS", "HVALS", "HSCAN"}
"""Commands that touch every field of a hash (Redis docs: complexity O(N))."""
STORE_COMMANDS = (
    *("evalsha", "eval", "exists", "hget", "hmget", "hset", "hdel", "unlink"),
    *("pexpire", "persist", "pttl", "time", "scan", "ping"),
)
"""What the store needs, as docs/stores.md tells its users."""
COMMANDS = {
    "": STORE_COMMANDS,
    "primary": (*STORE_COMMANDS, "role"),
    "sentinel": ("sentinel|get-master-addr-by-name",),
    "cluster": (*STORE_COMMANDS, "asking", "cluster|slots", "cluster|nodes"),
}
"""The same by kind of server: alone, a primary of Sentinel's, a sentinel, a cluster's node."""
MEMBERS = {"PING", "INFO", "PUBLISH", "REPLCONF"}
"""Commands that the members of a group give each other all the time."""
SENTINEL = "sentinel"
"""The user that Sentinels are, who are no clients."""


class RedisInspector:
    """`harness.inspectors.Inspector` for Redis."""

    def __init__(self, client: Any, url: str, namespace: str) -> None:
        """Use a client (redis-py's own types say little) that other inspectors use too."""
        self._client = client
        self._url = url
        self._prefix = b"{%d:%s:" % (len(namespace.encode()), namespace.encode())
        self._planted: list[bytes] = []
        self._users: list[str] = []

    def messages(self, session_id: str) -> list[RawRecord]:
        fields = self._client.hgetall(self._key(session_id))
        ids = {
            int(position): name[2:].decode()
            for name, position in fields.items()
            if name.startswith(b"i:")
        }
        found = [
            RawRecord(int(name[2:]), ids.get(int(name[2:]), ""), value.partition(b":")[2])
            for name, value in fields.items()
            if name.startswith(b"m:")
        ]
        return sorted(found, key=lambda record: record.position)

    def context(self, session_id: str) -> bytes | None:
        record: bytes | None = self._client.hget(self._key(session_id), "c")
        return record

    def present(self, session_id: str) -> bool:
        try:
            # MEMORY USAGE looks at the key without expiring it, as EXISTS would.
            return bool(self._client.memory_usage(self._key(session_id)))
        except exceptions.ResponseError:
            return bool(self._client.exists(self._key(session_id)))

    def sessions(self) -> set[str]:
        end = b"}:session"
        return {
            key[len(self._prefix) : -len(end)].decode()
            for key in self._keys()
            if key.startswith(self._prefix) and key.endswith(end)
        }

    def ttl(self, session_id: str) -> float | None:
        milliseconds: int = self._client.pttl(self._key(session_id))
        if milliseconds == -2:
            raise KeyError(session_id)
        return None if milliseconds == -1 else milliseconds / 1000

    def plant_message(self, session_id: str, position: int, record: bytes) -> None:
        key = self._key(session_id)
        last = int(self._client.hget(key, "n") or 0)
        value = b"%d:%s" % (time.time_ns() // 1000, record)
        self._client.hset(key, mapping={f"m:{position}": value, "n": max(last, position)})

    def plant_history(self, session_id: str, count: int, record: bytes) -> None:
        self._client.eval(
            """
            local record, fields = '1:' .. ARGV[2], {'n', ARGV[1]}
            for position = 1, tonumber(ARGV[1]) do
              local last = #fields
              fields[last + 1], fields[last + 2] = 'm:' .. position, record
              fields[last + 3], fields[last + 4] = 'i:planted-' .. position, position
              if last > 2000 then
                redis.call('HSET', KEYS[1], unpack(fields))
                fields = {}
              end
            end
            redis.call('HSET', KEYS[1], 'n', ARGV[1], unpack(fields))
            """,
            1,
            self._key(session_id),
            count,
            record,
        )

    def plant_context(self, session_id: str, record: bytes) -> None:
        self._client.hset(self._key(session_id), mapping={"c": record, "v": 1})

    def plant_sessions(
        self, session_ids: Iterable[str], record: bytes, ttl: float | None = None
    ) -> None:
        with self._client.pipeline(transaction=False) as pipeline:
            for key in map(self._key, session_ids):
                pipeline.hset(key, mapping={"c": record, "v": 1})
                if ttl is not None:
                    pipeline.pexpire(key, round(ttl * 1000))
            pipeline.execute()

    def plant_foreign_value(self, session_id: str) -> None:
        self._client.set(self._key(session_id), "<html>503</html>")

    def plant_neighbours(self) -> None:
        name = f"neighbour-{uuid4().hex}".encode()
        for key in (name, self._prefix, self._prefix + b"*}:session:", b"prefix" + self._prefix):
            self._client.set(key, "another application's")
            self._planted.append(key)

    def clear(self) -> None:
        mine = [key for key in self._keys() if key.startswith(self._prefix)]
        if mine:
            self._client.unlink(*mine)

    def delete_message(self, session_id: str, position: int) -> None:
        self._client.hdel(self._key(session_id), f"m:{position}")

    def set_last_position(self, session_id: str, position: int) -> None:
        self._client.hset(self._key(session_id), "n", position)

    def everything(self) -> Mapping[str, str]:
        found = {}
        for node in self._nodes():
            keys = [*node.scan_iter(count=1000)]
            for key, content in zip(keys, _contents(node, keys), strict=True):
                if content is not None:
                    name = key.decode(errors="backslashreplace")
                    found[name] = hashlib.sha256(content).hexdigest()
        return found

    def owner_of(self, session_id: str) -> str:
        return (self._prefix + session_id.encode() + b"}:").decode()

    def part_of(self, session_id: str) -> int:
        return key_slot(self._key(session_id)) if "+cluster:" in self._url else 0

    def uncommitted_append(self, session_id: str, record: bytes) -> AbstractContextManager[None]:
        raise NotImplementedError("matrix.toml says that Redis lacks open_transactions")

    @contextmanager
    def watching(self) -> Iterator[Work]:
        work = Work(touched=0, commands=[])
        end = f"end-{uuid4().hex}"
        nodes = self._nodes()  # once: redis-py 5.3 to 6 closes those that were looked up before
        with ExitStack() as watch:
            readers = []
            for node in nodes:
                monitor = watch.enter_context(node.monitor())  # returns once the server watches
                reader = threading.Thread(
                    target=self._record, args=(monitor, work, end), daemon=True
                )
                reader.start()
                readers.append(reader)
            try:
                yield work
            finally:
                for node in nodes:
                    node.echo(end)
                for reader in readers:
                    reader.join(10)

    def _record(self, monitor: Any, work: Work, end: str) -> None:
        for entry in monitor.listen():
            if end in entry["command"]:
                return
            name, *arguments = entry["command"].split(" ")
            if name.upper() in {"EVAL", "EVALSHA", "SCRIPT", *MEMBERS}:
                continue  # what the script does is reported command by command
            work.commands.append(name.upper())
            if name.upper() in WHOLE_KEY:
                work.touched += self._client.hlen(arguments[0])
            else:
                work.touched += max(1, len(arguments) - 1)

    def kill_clients(self) -> None:
        for node in self._nodes():
            for client in self._others(node):
                with suppress(exceptions.ResponseError):  # it has left by itself
                    node.client_kill(client["addr"])

    def clients(self) -> list[int]:
        return [len(self._others(node)) for node in self._nodes()]

    def open_transactions(self) -> int:
        raise NotImplementedError("matrix.toml says that Redis lacks open_transactions")

    @contextmanager
    def redefined(self) -> Iterator[None]:
        for node in self._nodes():
            node.script_flush()
        try:
            yield
        finally:
            for node in self._nodes():
                node.script_flush()

    def refused_urls(self) -> dict[str, str]:
        parts = urlsplit(self._url)
        _, _, hosts = parts.netloc.rpartition("@")
        refused = {
            "wrong password": parts._replace(netloc=f":{uuid4().hex}@{hosts}"),
            "no TLS": parts._replace(
                scheme=parts.scheme.replace("redis", "rediss", 1), query="ssl_cert_reqs=none"
            ),
        }
        if not isinstance(self._client, RedisCluster):  # which has only one database
            path = parts.path.rpartition("/")[0]
            refused["wrong database"] = parts._replace(path=f"{path}/999")
        return {what: url.geturl() for what, url in refused.items()}

    def least_privilege_url(self) -> str:
        user, password = f"least-{uuid4().hex[:8]}", uuid4().hex
        parts = urlsplit(self._url)
        for kind, node in self._everybody():
            rules = [f"+{command}" for command in COMMANDS[kind]]
            keys = [] if kind == SENTINEL else [b"~" + self._prefix + b"*"]
            node.execute_command(
                *("ACL", "SETUSER", user, "on", f">{password}", "-@all", *rules, *keys)
            )
        self._users.append(user)
        _, _, hosts = parts.netloc.rpartition("@")
        return parts._replace(netloc=f"{user}:{password}@{hosts}").geturl()

    def recoding_urls(self) -> list[str]:
        more = "&" if urlsplit(self._url).query else "?"
        options = ("decode_responses=true", "encoding=latin-1")
        return [f"{self._url}{more}{option}" for option in options]

    def url_in_zone(self, zone: str) -> str:
        return self._url  # Redis knows no time zones

    @contextmanager
    def record_limit(self, size: int) -> Iterator[None]:
        with ExitStack() as limits:
            for node in self._nodes():
                before = node.config_get("proto-max-bulk-len")
                limits.callback(node.config_set, "proto-max-bulk-len", next(iter(before.values())))
                node.config_set("proto-max-bulk-len", size)
            yield

    def fresh_url(self) -> str:
        return self._url  # Redis needs no schema, and every test has a namespace of its own

    def narrow_url(self) -> str:
        return self._url  # Redis keeps bytes and knows no encoding

    def close(self) -> None:
        if self._planted:
            self._client.delete(*self._planted)
        if self._users:
            for _, node in self._everybody():
                node.execute_command("ACL", "DELUSER", *self._users)

    def _nodes(self) -> list[Any]:
        """Return a client of each server that takes writes."""
        if not isinstance(self._client, RedisCluster):
            return [self._client]
        self._client.nodes_manager.initialize()
        primaries: list[Any] = self._client.get_primaries()  # type: ignore[no-untyped-call]
        return [node.redis_connection for node in primaries]

    def _everybody(self) -> list[tuple[str, Any]]:
        """Return a client of each server that stores ask, with its kind as of `COMMANDS`."""
        if isinstance(self._client, RedisCluster):
            nodes: list[Any] = self._client.get_nodes()  # type: ignore[no-untyped-call]
            return [("cluster", node.redis_connection) for node in nodes]
        pool = self._client.connection_pool
        if not isinstance(pool, SentinelConnectionPool):
            return [("", self._client)]
        sentinels = pool.sentinel_manager.sentinels
        return [("primary", self._client), *((SENTINEL, one) for one in sentinels)]

    def _keys(self) -> Iterator[bytes]:
        for node in self._nodes():
            yield from node.scan_iter(count=1000)

    def _others(self, node: Any) -> list[dict[str, str]]:
        """Return the clients of a server but for this one."""
        own = node.client_id()
        listed: list[dict[str, str]] = node.client_list("normal")
        return [one for one in listed if int(one["id"]) != own and one["user"] != SENTINEL]

    def _key(self, session_id: str) -> bytes:
        return self._prefix + session_id.encode() + b"}:session"


def _contents(node: Any, keys: list[bytes]) -> Iterator[bytes | None]:
    """Yield what each key holds, None if it expired meanwhile."""
    reads = {b"hash": "HGETALL", b"string": "GET"}
    with node.pipeline(transaction=False) as pipeline:
        for key in keys:
            pipeline.type(key)
        kinds: list[bytes] = pipeline.execute()
        for key, kind in zip(keys, kinds, strict=True):
            pipeline.execute_command(reads.get(kind, "TYPE"), key)
        for kind, content in zip(kinds, pipeline.execute(), strict=True):
            if kind == b"hash":
                yield repr(sorted(content.items())).encode() if content else None
            elif kind == b"string":
                yield None if content is None else repr(content).encode()
            else:
                yield None if kind == b"none" else kind
