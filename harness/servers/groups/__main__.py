"""Start a cell's server by hand, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import argparse
import signal
import sys
import time

from harness.backends import backend
from harness.matrix import load
from harness.providers import PROVIDERS, provide
from harness.servers import NotRunError, StartError
from harness.servers.topology import Topology
from harness.tables import MatrixError


def main() -> int:
    """Start the cell's server, print its URLs, and remove it at the end."""
    parser = argparse.ArgumentParser(prog="python -m harness.servers.groups", description=__doc__)
    parser.add_argument("cell", help="`nox -l` lists the cells, as in matrix(CELL)")
    parser.add_argument("--provider", choices=PROVIDERS, default="auto")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    began = time.monotonic()
    try:
        matrix = load()
        cell = matrix.cell(options.cell)
        server = provide(cell, backend(cell.backend), options.provider, matrix.registry)
    except (MatrixError, NotRunError) as error:
        print(error, file=sys.stderr)
        return 1
    try:
        server.start()
        print(f"{cell.id} serves after {time.monotonic() - began:.1f} s")
        print(f"all       {server.url}")
        if isinstance(server, Topology):
            replicas = server.replica_urls()
            for name, url in server.member_urls().items():
                print(f"{name:9} {url}{'  only reads' if url in replicas else ''}")
        print("Ctrl-C ends it.", flush=True)
        signal.pause()
    except (NotRunError, StartError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        server.remove()
    return 0


if __name__ == "__main__":
    sys.exit(main())
