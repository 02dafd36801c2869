"""docs/stores.md asks for exactly the rights that the contract iso-6 grants."""

from __future__ import annotations

import re
from pathlib import Path

from harness.inspectors.postgres import GRANTS
from harness.inspectors.redis import COMMANDS, STORE_COMMANDS

DOCS = (Path(__file__).parent.parent / "docs" / "stores.md").read_text(encoding="utf-8")


def block(language: str, start: str) -> str:
    """Return the code block that starts so."""
    match = re.search(rf"```{language}\n({start}.*?)```", DOCS, re.DOTALL)
    assert match, f"docs/stores.md has no block that starts with {start}"
    return match[1]


def test_the_redis_user_has_the_commands_of_the_contract() -> None:
    documented = re.findall(r"\+(\w+)", block("", "ACL SETUSER"))
    assert sorted(documented) == sorted(STORE_COMMANDS)


def test_the_redis_user_has_the_commands_that_groups_need() -> None:
    of_groups = DOCS.partition("Behind Sentinel")[2].partition("###")[0]
    documented = re.findall(r"\+([\w|-]+)", of_groups)
    needed = {name for names in COMMANDS.values() for name in names} - set(STORE_COMMANDS)
    assert set(documented) == needed


def test_the_postgres_role_has_the_grants_of_the_contract() -> None:
    documented = block("sql", "GRANT").replace(";", "").splitlines()
    assert documented == [grant.format(role="agent") for grant in GRANTS]
