"""What failures show of URLs and connection strings."""

from __future__ import annotations

import pytest

from harness.report.secrets import without_passwords


@pytest.mark.parametrize(
    "text",
    [
        "Proxied(url='postgresql://matrix:YbBTOXw-hVpaxEOMsMNrBw@127.0.0.1:3/matrix')",
        "redis://:YbBTOXw-hVpaxEOMsMNrBw@127.0.0.1:3/0",
        "user=matrix password=YbBTOXw-hVpaxEOMsMNrBw dbname=matrix",
        "{'password': 'YbBTOXw-hVpaxEOMsMNrBw'}",
        "redis-server --requirepass YbBTOXw-hVpaxEOMsMNrBw",
    ],
)
def test_a_password_is_left_out(text: str) -> None:
    """Whatever form it has, all else stays."""
    assert without_passwords(text) == text.replace("YbBTOXw-hVpaxEOMsMNrBw", "***")


@pytest.mark.parametrize(
    "text", ["redis://127.0.0.1:3/0", "FATAL: password authentication failed", "a@b.c:d"]
)
def test_what_is_no_password_stays(text: str) -> None:
    """Messages stay readable."""
    assert without_passwords(text) == text
