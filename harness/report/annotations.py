"""Failures as GitHub shows them beside the source: lines of ``::error`` (its "Workflow commands").

GitHub keeps ten of a step. A contract that fails in many cells is therefore one annotation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from harness.report.results import CellReport, Result
from harness.report.secrets import without_passwords

MOST = 10
NAMED = 3
"""Cells that an annotation names, of more only how many."""


def error_lines(cells: Sequence[CellReport], *, strict: bool) -> list[str]:
    """Return a line for each contract that failed, and for each reason why cells failed.

    Cells and contracts that did not run are errors where everything must run. What is beyond
    GitHub's limit is counted in the last line, a warning.
    """
    found = [*_contracts(cells), *_cells(cells, strict=strict)]
    if len(found) <= MOST:
        return found
    said = f"{len(found) - MOST} more are in the summary: GitHub shows {MOST} of a step"
    return [*found[:MOST], _command("warning", {"title": "Not all failures are shown"}, said)]


def _contracts(cells: Sequence[CellReport]) -> Iterator[str]:
    failed = [(result, cell.cell) for cell in cells for result in cell.failed]
    failed.sort(key=lambda one: (_contract(one[0]), one[1]))
    for _, same in groupby(failed, key=lambda one: _contract(one[0])):
        results, where = zip(*same, strict=True)
        first: Result = results[0]
        name = first.test.partition("[")[0]
        properties = {"file": first.file, "line": str(first.line), "title": f"{first.rule}: {name}"}
        said = f"in {_listed(list(dict.fromkeys(where)))}; first, {first.test}:\n{first.reason}"
        yield _command("error", properties if first.file else {"title": name}, said)


def _cells(cells: Sequence[CellReport], *, strict: bool) -> Iterator[str]:
    failing: dict[str, list[str]] = {}
    for cell in cells:
        if cell.outcome == "error" or (strict and cell.outcome == "not run"):
            failing.setdefault(f"{cell.outcome}: {cell.reason}", []).append(cell.cell)
        for reason in cell.left_out if strict else ():
            failing.setdefault(f"contracts did not run: {reason}", []).append(cell.cell)
    for reason, where in failing.items():
        yield _command("error", {"title": _listed(where)}, reason)


def _contract(result: Result) -> tuple[str, int, str]:
    return result.file, result.line, result.test.partition("[")[0]


def _listed(cells: Sequence[str]) -> str:
    more = len(cells) - NAMED
    return ", ".join(cells[:NAMED]) + (f" and {more} more cells" if more > 0 else "")


def _command(name: str, properties: Mapping[str, str], message: str) -> str:
    said = ",".join(
        f"{key}={_escaped(without_passwords(value)).replace(':', '%3A').replace(',', '%2C')}"
        for key, value in properties.items()
    )
    return f"::{name} {said}::{_escaped(without_passwords(message))}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
