"""Passwords do not go into reports: what a failure shows of URLs and connection strings."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from typing import Any

IN_URL = re.compile(r"(\w://[^\s:/@'\"]*:)[^\s@'\"]+(?=@)")
IN_PARAMETERS = re.compile(
    r"((?:password['\"]?\s*[=:]|requirepass['\",=]*\s|masterauth['\",=]*\s)\s*['\"]?)[\w-]{8,}"
)
HIDDEN = r"\1***"
SHORTEST = 4
"""Shorter passwords are words of every text: only their places tell them."""
_known: set[str] = set()


def hide(password: str) -> None:
    """Leave a password out wherever it stands from now on."""
    if len(password) >= SHORTEST:
        _known.add(password)


def without_passwords(text: str) -> str:
    """Return the text with the passwords of URLs and connection parameters left out."""
    text = IN_PARAMETERS.sub(HIDDEN, IN_URL.sub(HIDDEN, text))
    for password in sorted(_known, key=len, reverse=True):
        text = text.replace(password, "***")
    return text


def hide_passwords(value: Any) -> Any:
    """Leave the passwords out of every text in a value; return the value.

    Lists and dataclasses, such as those of which pytest makes the picture of a failure, are changed
    in place: what their structure tells, such as file and line, stays.
    """
    if isinstance(value, str):
        return without_passwords(value)
    if isinstance(value, dict):
        return {key: hide_passwords(each) for key, each in value.items()}
    if isinstance(value, tuple):
        return tuple(map(hide_passwords, value))
    if isinstance(value, list):
        value[:] = map(hide_passwords, value)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            setattr(value, field.name, hide_passwords(getattr(value, field.name)))
    return value
