"""Fixtures of the harness's own tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from harness.servers.engine import daemon_fault
from tests.project import Project


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A copy of this project, without its contracts."""
    copy = Project(tmp_path / "project")
    yield copy
    copy.close()


@pytest.fixture(scope="session")
def daemon() -> Iterator[Any]:
    """A client of the Docker daemon; without one the test does not run, which fails in CI."""
    if daemon_fault() is not None:
        if os.environ.get("CI", "").lower() in {"1", "true"}:
            pytest.fail("no Docker daemon answers, and with CI=true everything must run")
        pytest.skip("no Docker daemon answers")
    client = docker.from_env()
    yield client
    client.close()
