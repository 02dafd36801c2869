"""`nox -s bench`: times the matrix, its peers and the adapters; writes a page and its figures."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from bench import BrokenError
from bench.page import page
from bench.summary import publish
from harness.orphans import end_with_parent
from harness.servers import NotRunError, StartError

PARTS = ("adapters", "peers", "matrix")
SUMMARY = Path("docs/bench.md")


def main(arguments: Sequence[str]) -> int:
    """Return 0 if all that was asked for was measured, else 1."""
    options = _options(arguments)
    folder = Path(options.reports)
    kept = folder / "bench.json"
    if options.publish:
        return _publish(kept)
    end_with_parent()
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    found = _before(kept) if options.only else {}
    found |= _about(options)

    def tell(text: str) -> None:
        print(f"{time.monotonic() - began:5.0f} s  {text}", flush=True)

    failed = []
    for part in options.only or PARTS:
        try:
            found |= _measured(part, options, tell)
        except (NotRunError, StartError, BrokenError) as error:
            failed.append(part)
            tell(f"{part}: not run: {error}")
    found["seconds"] = round(time.monotonic() - began)
    kept.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (folder / "bench.html").write_text(page(found), encoding="utf-8")
    tell(f"wrote {kept} and {folder / 'bench.html'}")
    if not options.only and not failed:
        publish(found, SUMMARY)
        tell(f"wrote {SUMMARY}")
    return 1 if failed else 0


def _measured(part: str, options: argparse.Namespace, tell: Any) -> dict[str, Any]:
    """Measure one part. Imported here: each needs packages that the others do not."""
    if part == "adapters":
        from bench.adapters.memory import per_message  # noqa: PLC0415
        from bench.adapters.run import compare  # noqa: PLC0415
        from bench.servers import CELLS, running  # noqa: PLC0415

        rows, memory = [], []
        for backend in CELLS:
            with running(backend, room=True) as url:
                memory += per_message(backend, url)
                rows += compare(backend, url, options.rounds, tell)
        return {"adapters": rows, "memory": memory}
    if part == "peers":
        from bench.starts import compare_starts  # noqa: PLC0415

        return {"peers": compare_starts(options.rounds, tell)}
    from bench.matrix import measure  # noqa: PLC0415

    return {"matrix": measure(Path(options.reports), options.rounds, tell)}


def _about(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {
            "cores": os.cpu_count(),
            "memory_gb": round(psutil.virtual_memory().total / 2**30),
            "load": round(os.getloadavg()[0], 1),
        },
        "rounds": options.rounds,
    }


def _before(kept: Path) -> dict[str, Any]:
    """Return the figures of the parts that are not measured this time."""
    try:
        found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def _publish(kept: Path) -> int:
    found = _before(kept)
    if not found:
        print(f"there is no {kept}: `nox -s bench` writes it")
        return 2
    publish(found, SUMMARY)
    print(f"wrote {SUMMARY}")
    return 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="nox -s bench --",
        description=__doc__,
        epilog="Takes up to 15 minutes on two cores; leave the machine alone meanwhile.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--only", choices=PARTS, action="append", help="only this part, keeping the others' figures"
    )
    parser.add_argument(
        "--rounds", type=_rounds, default=5, help="how often everything is timed, in turns (5)"
    )
    parser.add_argument("--reports", default="reports", metavar="FOLDER", help="where figures go")
    parser.add_argument(
        "--publish",
        action="store_true",
        help=f"only write {SUMMARY} from the last run's figures, as a run of all parts does",
    )
    return parser.parse_args(arguments)


def _rounds(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of rounds from 1 on")
    return int(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
