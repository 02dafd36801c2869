"""Whether what came back is what went in: equal, of the same types, in the same order."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

from stores.interface import Message


def difference(got: object, wanted: object, path: str = "value") -> str | None:
    """Return where two values first differ, and how; None where they are the same.

    Stricter than ``==``: 1, 1.0 and True differ, and so do 0.0 and -0.0, the order of a
    dict's keys, Decimal 1.0 and 1.00, and one moment in two time zones.
    """
    if type(got) is not type(wanted):
        return f"{path}: got {got!r} of type {type(got).__name__}, wanted {wanted!r}"
    if isinstance(got, dict) and isinstance(wanted, dict):
        if list(got) != list(wanted):
            return f"{path}: got the keys {list(got)!r}, wanted {list(wanted)!r}"
        pairs: Any = [(f"{path}[{key!r}]", got[key], wanted[key]) for key in wanted]
    elif isinstance(got, list) and isinstance(wanted, list):
        if len(got) != len(wanted):
            return f"{path}: got {len(got)} items, wanted {len(wanted)}"
        pairs = [(f"{path}[{i}]", *pair) for i, pair in enumerate(zip(got, wanted, strict=True))]
    else:
        same = _facts(got) == _facts(wanted)
        return None if same else f"{path}: got {got!r}, wanted {wanted!r}"
    return next((found for p, g, w in pairs if (found := difference(g, w, p))), None)


def message_difference(got: Message, wanted: Message) -> str | None:
    """Return where what two messages say first differs; their places do not count."""
    return difference(_said(got), _said(wanted), "message")


def _said(message: Message) -> Mapping[str, object]:
    return {field.name: getattr(message, field.name) for field in fields(Message)}


def _facts(value: object) -> object:
    """Return all that tells a value from others of its type."""
    if isinstance(value, float):
        return value, math.copysign(1, value)
    if isinstance(value, datetime):
        zone = getattr(value.tzinfo, "key", None)
        return value.replace(tzinfo=None, fold=0), value.utcoffset(), type(value.tzinfo), zone
    return value if isinstance(value, str | bytes) else (value, str(value))
