"""``python -m stores.postgres.sweeper``: delete what has expired, until stopped."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from threading import Event

import psycopg

from stores.postgres.sweeper import Sweeper


def main() -> int:
    """Run the sweeper as the arguments say; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m stores.postgres.sweeper",
        description="Delete expired sessions of all namespaces from a Postgres memory store. "
        "Stops at Ctrl-C or SIGTERM, after the batch under way.",
    )
    parser.add_argument(
        "url",
        nargs="?",
        default=os.environ.get("DATABASE_URL"),
        help="postgresql:// URL; better in the environment variable DATABASE_URL: arguments "
        "show up in the list of processes, with the password",
    )
    parser.add_argument("--schema", default="agent_memory", help="default: %(default)s")
    parser.add_argument(
        "--every", type=float, default=30.0, metavar="SECONDS", help="default: %(default)s"
    )
    parser.add_argument(
        "--batch",
        type=int,
        default=500,
        metavar="SESSIONS",
        help="most sessions in one transaction; default: %(default)s",
    )
    parser.add_argument("--once", action="store_true", help="do one pass and say what it deleted")
    options = parser.parse_args()
    if not options.url:
        parser.error("no URL: give one, or set DATABASE_URL")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        sweeper = Sweeper(
            options.url, schema=options.schema, every=options.every, batch=options.batch
        )
    except ValueError as error:
        parser.error(str(error))
    return _once(sweeper) if options.once else _until_stopped(sweeper)


def _once(sweeper: Sweeper) -> int:
    try:
        swept = sweeper.sweep()
    except (psycopg.Error, OSError) as error:
        print(f"cannot sweep: {error}", file=sys.stderr)
        return 1
    print(f"{swept} expired sessions deleted")
    return 0


def _until_stopped(sweeper: Sweeper) -> int:
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with sweeper:
        stop.wait()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
