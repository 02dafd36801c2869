"""Marks of contracts: which rule of the catalogue, and what it needs of a cell or a store."""

from __future__ import annotations

import pytest


def contract(rule: str) -> pytest.MarkDecorator:
    """Mark a test as the contract of a rule, by its id in the catalogue.

    The first line of the docstring is the rule; what follows says what to look at when it
    fails.
    """
    return pytest.mark.contract(rule)


def needs(*capabilities: str) -> pytest.MarkDecorator:
    """Mark what a contract needs; without it the contract is not applicable, with the reason.

    A capability of a cell (`harness.capabilities.CAPABILITIES`) or a feature of a store
    (`stores.interface.FEATURES`).
    """
    return pytest.mark.needs(*capabilities)
