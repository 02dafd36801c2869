"""States of a running Redis in which it refuses calls (Redis docs: redis.conf, protocol)."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redis import Redis, exceptions

from harness.polling import eventually

if TYPE_CHECKING:
    from harness.servers import OneServer

DEAD_PORT = 1
"""Nobody listens there: a primary that is down."""
SNAPSHOT = "dump.rdb"
MEGABYTE = 1024**2
LOADED_MEGABYTES = 40
LOAD_MICROSECONDS = 10_000
"""For each megabyte. Redis looks for clients every two, while it loads. Nothing ends it early."""
SAMPLES = 64
"""Keys that Redis looks at for the one to evict. With 5, its default, it may see none of those
that are out of use."""
STATES: tuple[str, ...] = ("READONLY", "NOREPLICAS", "MASTERDOWN", "BUSY", "MISCONF", "LOADING")


class RedisStates:
    """`harness.faults.states.States` of Redis. No state needs a restart."""

    names = STATES

    def __init__(self, server: OneServer) -> None:
        self._server = server

    def rounds(self) -> Iterator[Generator[str, None, None]]:
        for name in self.names:
            yield self._round(name)

    def _round(self, name: str) -> Generator[str, None, None]:
        with self.hold(name):
            yield name

    def hold(self, name: str) -> AbstractContextManager[None]:
        states: Mapping[str, Callable[[], AbstractContextManager[None]]] = {
            "READONLY": self._replica,
            "NOREPLICAS": lambda: self._configured({"min-replicas-to-write": 1}),
            "MASTERDOWN": self._stale_replica,
            "BUSY": self._busy,
            "MISCONF": self._unsaved,
            "LOADING": self._loading,
        }
        return states[name]()

    @contextmanager
    def memory_limit(self, room: int) -> Iterator[None]:
        with self._client() as client:
            used = int(client.info("memory")["used_memory"])
        with self._configured({"maxmemory-samples": SAMPLES, "maxmemory": max(1, used + room)}):
            yield

    def age(self, namespace: str, seconds: int) -> None:
        with self._client() as client:
            for key in client.scan_iter(count=1000):
                if namespace.encode() not in key:
                    continue
                with client.pipeline() as pipeline:
                    left, content = pipeline.pttl(key).dump(key).execute()
                if content is not None:
                    left = max(1000, left - seconds * 1000) if left > 0 else 0
                    client.restore(key, left, content, replace=True, idletime=seconds)

    def use_disk(self) -> None:
        """Save a snapshot, where the configuration has snapshots."""
        with suppress(exceptions.ConnectionError), self._client() as client:
            if client.config_get("save")["save"]:
                _snapshot(client)

    def after_full_disk(self) -> None:
        """Save a snapshot: until one succeeds, Redis refuses writes (stop-writes-on-bgsave-error).

        A failed write to the append-only file is tried again by Redis itself, once a second.
        """
        with suppress(exceptions.ConnectionError), self._client() as client:
            if client.config_get("save")["save"]:
                assert _snapshot(client), "the snapshot failed although the disk has space"
            assert eventually(lambda: client.info("persistence")["aof_last_write_status"] == "ok")

    @contextmanager
    def _replica(self, **settings: str) -> Iterator[None]:
        """Follow a primary that is down, with the data there is."""
        with self._configured(settings), self._client() as client:
            client.replicaof("127.0.0.1", DEAD_PORT)
            try:
                yield
            finally:
                client.replicaof("NO", "ONE")

    def _stale_replica(self) -> AbstractContextManager[None]:
        return self._replica(**{"replica-serve-stale-data": "no"})

    @contextmanager
    def _busy(self) -> Iterator[None]:
        """Run a script that never ends by itself."""
        with self._configured({"lua-time-limit": 1}), self._client() as client:
            runner = threading.Thread(target=self._run_for_ever, daemon=True)
            runner.start()
            try:
                assert eventually(lambda: _refuses(client, "BUSY"))
                yield
            finally:
                with suppress(exceptions.ResponseError):  # NOTBUSY: it never began
                    client.script_kill()
                runner.join(10)

    def _run_for_ever(self) -> None:
        with suppress(exceptions.RedisError), self._client() as client:
            client.eval("while true do end", 0)

    @contextmanager
    def _unsaved(self) -> Iterator[None]:
        """Let a snapshot fail: a directory is in the file's way."""
        path = self._server.data / SNAPSHOT
        # The end of the child that saves is looked for hz times a second.
        with self._configured({"save": "3600 1", "hz": 100}), _moved_away(path):
            path.mkdir()
            with self._client() as client:
                try:
                    assert not _snapshot(client), "a snapshot came through a directory"
                    yield
                finally:
                    path.rmdir()
                    _snapshot(client)

    @contextmanager
    def _loading(self) -> Iterator[None]:
        """Load a snapshot of expired keys, which leaves what is stored as it is."""
        path = self._server.data / SNAPSHOT
        with self._configured({"key-load-delay": LOAD_MICROSECONDS}), _moved_away(path):
            _write_expired(path)
            loader = threading.Thread(target=self._load, daemon=True)
            with self._client() as client:
                client.ping()  # a login is refused, too
                loader.start()
                try:
                    assert eventually(lambda: _refuses(client, "LOADING"))
                    yield
                finally:
                    loader.join(20)

    def _load(self) -> None:
        with self._client() as client:
            client.execute_command("DEBUG", "RELOAD", "NOSAVE", "NOFLUSH")

    @contextmanager
    def _configured(self, settings: Mapping[str, Any]) -> Iterator[None]:
        """Change settings of the running server; put them back unless it has ended."""
        with self._client() as client:
            before = {name: client.config_get(name)[name] for name in settings}
            try:
                for name, value in settings.items():
                    client.config_set(name, value)
                yield
            finally:
                # One that has ended starts with the settings of its row.
                with suppress(exceptions.ConnectionError):
                    for name, value in reversed(before.items()):
                        client.config_set(name, value)

    @contextmanager
    def _client(self) -> Iterator[Any]:
        with closing(Redis.from_url(self._server.url, socket_timeout=20, protocol=2)) as client:
            yield client


def _refuses(client: Any, code: str) -> bool:
    try:
        client.ping()
    except exceptions.BusyLoadingError:
        return code == "LOADING"
    except exceptions.ResponseError as error:
        return str(error).startswith(code)
    return False


def _snapshot(client: Any) -> bool:
    """Save a snapshot; tell whether that went well."""
    client.bgsave()
    ended = eventually(lambda: not client.info("persistence")["rdb_bgsave_in_progress"], within=20)
    return ended and client.info("persistence")["rdb_last_bgsave_status"] == "ok"


@contextmanager
def _moved_away(path: Path) -> Iterator[None]:
    """Keep a file that may be there aside, in the block; delete what takes its place."""
    aside = path.with_suffix(".aside")
    if path.exists():
        path.rename(aside)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        if aside.exists():
            aside.rename(path)


def _write_expired(path: Path) -> None:
    """Write a snapshot of keys that expired long ago: a file with holes, which takes no space.

    Its format: https://rdb.fnordig.de/file_format.html; the 8 zeros are "no checksum".
    """
    with path.open("wb") as file:
        file.write(b"REDIS0009\xfe\x00")
        for number in range(LOADED_MEGABYTES):
            key = b"expired-%03d" % number
            file.write(b"\xfc" + (1).to_bytes(8, "little") + b"\x00" + bytes([len(key)]) + key)
            file.write(b"\x80" + MEGABYTE.to_bytes(4, "big"))
            file.seek(MEGABYTE, os.SEEK_CUR)
        file.write(b"\xff" + bytes(8))
    owner = path.parent.stat()
    os.chown(path, owner.st_uid, owner.st_gid)
