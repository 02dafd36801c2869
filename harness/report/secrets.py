"""Passwords do not go into reports: what a failure shows of URLs and connection strings."""

from __future__ import annotations

import re

IN_URL = re.compile(r"(\w://[^\s:/@'\"]*:)[^\s@'\"]+(?=@)")
IN_PARAMETERS = re.compile(
    r"((?:password['\"]?\s*[=:]|requirepass['\",=]*\s|masterauth['\",=]*\s)\s*['\"]?)[\w-]{8,}"
)
HIDDEN = r"\1***"


def without_passwords(text: str) -> str:
    """Return the text with the passwords of URLs and connection parameters left out."""
    return IN_PARAMETERS.sub(HIDDEN, IN_URL.sub(HIDDEN, text))
