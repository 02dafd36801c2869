"""The options behind ``--`` of the nox sessions. Standard library only: the noxfile imports it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import urlsplit

from harness.own_stores import BACKENDS
from harness.shards import Shard, parse_shard

URL_VARIABLE = "MATRIX_URL"
"""The environment variable with a server's URL: command lines can be read by all users."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a user asked of a session."""

    lane: str | None
    shard: Shard | None
    strict: bool
    stores: list[str]
    backend: str | None
    with_: list[str]
    reports: str
    for_pytest: list[str]
    """The other options, as the suite takes them."""
    cell: str | None = None
    url: str | None = None
    provider: str | None = None

    @property
    def host(self) -> str:
        """The host and port of the server that runs already, empty where none was named."""
        return urlsplit(os.environ.get(URL_VARIABLE, "")).netloc.rpartition("@")[2]


def parse(arguments: Sequence[str]) -> Options:
    """Read the options. Prints the help and exits where that is asked for."""
    parser = _Parser(
        prog="nox -s SESSION --",
        description="Run the contracts in cells of matrix.toml. `nox -l` lists the cells.",
        epilog="Every other option goes to pytest, as -x, --durations=10 or --pdb do.",
        allow_abbrev=False,
    )
    parser.add_argument("--lane", help="only the cells of this lane of matrix.toml")
    parser.add_argument("--cell", metavar="ID", help="only this cell")
    parser.add_argument(
        "--url",
        help="run on this server, which somebody prepared and marked as disposable; with --cell, "
        "the row that it is. MATRIX_URL and --provider external keep it off the command line",
    )
    parser.add_argument(
        "--shard",
        type=parse_shard,
        metavar="I/N",
        help="only the cells of machine I of N, which all take about as long",
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        default=os.environ.get("CI", "").lower() in {"1", "true"},
        help="fail where a cell could not run; set by CI=true",
    )
    for_pytest = parser.add_argument_group("options of the suite")
    for_pytest.add_argument(
        "--provider",
        choices=["auto", "docker", "embedded", "external"],
        help="who starts the servers: containers, or local processes; "
        "auto takes containers if a Docker daemon answers; external starts none (see --url)",
    )
    for_pytest.add_argument(
        "--store",
        action="append",
        default=[],
        metavar="NAME",
        help="only this store: one of matrix.toml, or a factory of your own, as "
        "package.module:callable; repeatable",
    )
    for_pytest.add_argument(
        "--backend", choices=BACKENDS, help="whose server a factory is for (default: redis)"
    )
    for_pytest.add_argument(
        "--with",
        dest="with_",
        action="append",
        default=[],
        metavar="WHAT",
        help="what a factory comes from: a folder, or a requirement as for pip; repeatable",
    )
    for_pytest.add_argument("--seed", type=int, help="start of every random choice")
    for_pytest.add_argument("-k", metavar="NAME", help="only contracts whose name matches")
    for_pytest.add_argument(
        "--reports", metavar="FOLDER", default="reports", help="where reports go"
    )
    known, others = parser.parse_known_args(arguments)
    if known.url is not None:
        if known.provider not in {None, "external"}:
            parser.error(
                f"--url is a server that runs already, and not --provider {known.provider}"
            )
        known.provider = "external"
    passed = [f"--provider={known.provider}"] * bool(known.provider)
    passed += [f"--store={name}" for name in known.store]
    passed += [f"--backend={known.backend}"] * bool(known.backend)
    passed += [f"--with={what}" for what in known.with_]
    if known.seed is not None:
        passed += [f"--seed={known.seed}", f"--hypothesis-seed={known.seed}"]
    passed += ["-k", known.k] if known.k else []
    passed += [f"--reports={known.reports}"] * (known.reports != "reports")
    return Options(
        lane=known.lane,
        shard=known.shard,
        strict=known.strict,
        stores=known.store,
        backend=known.backend,
        with_=known.with_,
        reports=known.reports,
        for_pytest=passed + others,
        cell=known.cell,
        url=known.url,
        provider=known.provider,
    )


class _Parser(argparse.ArgumentParser):
    """Answers a wrong option with one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{message}; `{self.prog} --help` explains the options\n")
