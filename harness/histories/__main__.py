"""Judge stored histories again: `python -m harness.histories reports/CELL/HISTORY.json ...`."""

import argparse
import json
import sys
from pathlib import Path

from harness.histories.replay import replay
from harness.histories.verdict import explain


def main(arguments: list[str] | None = None) -> int:
    """Print the verdict on each file; return 1 if one breaks a rule, 2 if one is no history."""
    parser = argparse.ArgumentParser(prog="python -m harness.histories", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="HISTORY.json")
    status = 0
    for path in parser.parse_args(arguments).files:
        try:
            violations = replay(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            print(f"{path}: {error}", file=sys.stderr)
            status = 2
            continue
        print(f"{path}: {explain(violations)}")
        status = max(status, 1 if violations else 0)
    return status


if __name__ == "__main__":
    sys.exit(main())
