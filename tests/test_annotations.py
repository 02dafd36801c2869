"""Failures as GitHub's annotations: escaped as it reads them, and not more than it shows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.report.annotations import error_lines
from harness.report.results import CellReport, Result


def failed(name: str, line: int, reason: str = "wrong", store: str = "RedisStore") -> Result:
    """Return a contract that failed."""
    return Result(
        *("ttl-2", "A rule.", f"{name}[{store}]", store, "fail", reason, 0.1, []),
        file="contract_tests/test_x.py",
        line=line,
    )


def done(cell: str, *results: Result) -> CellReport:
    """Return a cell that ran."""
    return CellReport(cell, "done", "", results=list(results))


def test_what_github_reads_as_its_own_is_escaped() -> None:
    """Percent signs and line ends everywhere; colons and commas in properties, too."""
    reason = "100% wrong\r\na second: line, ::error::"
    odd = replace(failed("test_a", 7, reason), rule="a:b,c%", file="a,b:c.py")
    (line,) = error_lines([done("cell", odd)], strict=False)
    assert line == (
        "::error file=a%2Cb%3Ac.py,line=7,title=a%3Ab%2Cc%25%3A test_a::in cell; first, "
        "test_a[RedisStore]:%0A100%25 wrong%0D%0Aa second: line, ::error::"
    )
    assert len(line.splitlines()) == 1


def test_a_contract_is_one_annotation_however_many_cells_it_fails_in() -> None:
    """It names the first cells, and how many more there are."""
    cells = [
        done(f"cell{n}", failed("test_a", 7), failed("test_a", 7, store="AsyncRedisStore"))
        for n in range(5)
    ]
    (line,) = error_lines(cells, strict=False)
    assert "::in cell0, cell1, cell2 and 2 more cells; first, test_a[" in line


def test_no_more_than_github_shows() -> None:
    """The last line counts the others; it is no error, of which there may be ten."""
    results = [failed(f"test_{n:02}", n) for n in range(13)]
    lines = error_lines([done("cell", *results)], strict=False)
    assert [line.partition(" ")[0] for line in lines] == ["::error"] * 10 + ["::warning"]
    assert lines[-1].endswith("::3 more are in the summary: GitHub shows 10 of a step")
    assert len(error_lines([done("cell", *results[:10])], strict=False)) == 10


@pytest.mark.parametrize("strict", [False, True])
def test_cells_that_did_not_run_are_errors_where_everything_must(*, strict: bool) -> None:
    """Together, by their reason; a cell that broke is an error anywhere."""
    skipped = Result("ttl-1", "", "test_b", "RedisStore", "not run", "no root", 0, [])
    cells = [
        *(CellReport(name, "not run", "no Docker") for name in ("a", "b")),
        CellReport("c", "error", "the server ended: redis://:secretpassword@127.0.0.1:1/0"),
        done("d", skipped),
    ]
    lines = error_lines(cells, strict=strict)
    broke = "::error title=c::error: the server ended: redis://:***@127.0.0.1:1/0"
    missing = [
        "::error title=a%2C b::not run: no Docker",
        broke,
        "::error title=d::contracts did not run: no root",
    ]
    assert lines == (missing if strict else [broke])


def test_a_green_run_has_none() -> None:
    """Nothing is printed."""
    assert error_lines([done("cell")], strict=True) == []
