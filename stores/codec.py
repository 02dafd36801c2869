"""The versioned record format: how messages and contexts become bytes and come back.

A record is ``v1 `` followed by JSON. JSON's own types stay as they are; the others are
tagged objects with one ``$`` key, and a user's key that starts with ``$`` gets another
``$`` in front. Records without a version are the plain JSON of the first releases and
are read for ever. The server only ever sees opaque bytes, so it cannot change a value.
"""

from __future__ import annotations

import json
import math
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from stores.errors import CorruptRecord, NotSerializable, RecordTooLarge, UnsupportedRecordVersion
from stores.interface import Message, StoredMessage

VERSION = 1
MAX_DEPTH = 100
"""How deep values may be nested: far above real contexts, far below Python's own limit."""
MAX_INTEGER_BITS = 14_284
"""4300 decimal digits: the longest integer that Python reads from text, unless told otherwise."""

_UNREADABLE = (
    *(ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError),
    OSError,  # a time zone that this machine has no file for
)
_Parts = tuple[str, str, str, dict[str, Any], datetime]
"""Role, content, id, metadata and created_at of a message."""
_HEADER = re.compile(rb"v(\d{1,9}) ")
_PREFIX = b"v%d " % VERSION
_SURROGATE = re.compile("[\ud800-\udfff]")
# Nothing refers to itself here: `_pack` has ended at a depth.
_JSON = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":")
)


def encode_message(message: Message, max_bytes: int) -> bytes:
    """Return the message's record. Raises NotSerializable naming the value's path."""
    role, content, named = message.role, message.content, message.id
    metadata, created_at = message.metadata, message.created_at
    if not type(role) is type(content) is type(named) is str:
        wrong = next(n for n in ("role", "content", "id") if type(getattr(message, n)) is not str)
        raise NotSerializable(f"message.{wrong} must be text")
    if type(created_at) is not datetime:
        raise NotSerializable("message.created_at must be a datetime")
    if type(metadata) is not dict:
        raise NotSerializable("message.metadata must be a dict")
    packed = {
        "role": role,
        "content": content,
        "id": named,
        "metadata": _pack(metadata, "message.metadata", MAX_DEPTH - 1) if metadata else metadata,
        "created_at": _pack_datetime(created_at, "message.created_at"),
    }
    return _record(packed, "message", max_bytes)


def encode_context(context: Mapping[str, Any], max_bytes: int) -> bytes:
    """Return the context's record. Raises NotSerializable naming the value's path."""
    if type(context) is not dict:
        raise NotSerializable(f"a context must be a dict, not {type(context).__name__}")
    return _record(_pack(context, "context", MAX_DEPTH), "context", max_bytes)


def decode_message(
    record: bytes, session_id: str, position: int, stored_at: datetime
) -> StoredMessage:
    """Return the message. Raises CorruptRecord or UnsupportedRecordVersion naming its place."""
    version, fields = _parse(record, session_id, position)
    try:
        parts = _message_v1(fields) if version else _message_v0(fields, position)
    except _UNREADABLE as error:
        raise CorruptRecord(
            f"the record is not a message ({error!r})",
            session_id=session_id,
            position=position,
            raw=record,
        ) from error
    return StoredMessage(*parts, position=position, stored_at=stored_at)


def decode_context(record: bytes, session_id: str) -> dict[str, Any]:
    """Return the context. Raises CorruptRecord or UnsupportedRecordVersion naming the session."""
    version, fields = _parse(record, session_id, None)
    try:
        return _object(_unpack(fields)) if version else fields
    except _UNREADABLE as error:
        raise _unreadable(error, session_id, None, record) from error


def _message_v0(fields: dict[str, Any], position: int) -> _Parts:
    """Read the first releases' format: a float timestamp, no version, no id."""
    return (
        _text(fields["role"]),
        _text(fields["content"]),
        f"v0-{position}",
        _object(fields.get("metadata", {})),
        datetime.fromtimestamp(fields["timestamp"], UTC),
    )


def _message_v1(fields: dict[str, Any]) -> _Parts:
    created_at = _unpack(fields["created_at"])
    if type(created_at) is not datetime:
        raise TypeError("created_at is not a datetime")
    metadata = fields["metadata"]
    if metadata != {}:
        metadata = _object(_unpack(metadata))
    return (
        _text(fields["role"]),
        _text(fields["content"]),
        _text(fields["id"]),
        metadata,
        created_at,
    )


def _text(value: object) -> str:
    if type(value) is not str:
        raise TypeError(f"{value!r} is not text")
    return value


def _object(value: object) -> dict[str, Any]:
    if type(value) is not dict:
        raise TypeError(f"{value!r} is not an object")
    return value


def _record(packed: object, path: str, max_bytes: int) -> bytes:
    try:
        record = _PREFIX + _JSON.encode(packed).encode()
    except UnicodeEncodeError as error:
        raise NotSerializable(
            f"{_lone_surrogate(packed, path)}: a lone surrogate is not text"
        ) from error
    except ValueError as error:  # an integer too long for Python's own text conversion
        raise NotSerializable(f"{path}: {error}") from error
    if len(record) > max_bytes:
        raise RecordTooLarge(f"{path}: {len(record)} bytes are more than {max_bytes}")
    return record


def _parse(record: bytes, session_id: str, position: int | None) -> tuple[int, dict[str, Any]]:
    """Return a record's version and its JSON, still with the tags of types."""
    version, start = VERSION, len(_PREFIX)
    if not record.startswith(_PREFIX):
        header = _HEADER.match(record)
        version, start = (int(header[1]), header.end()) if header else (0, 0)
    if version > VERSION:
        raise UnsupportedRecordVersion(
            version, session_id=session_id, position=position, raw=record
        )
    try:
        text = record.decode()
        if not version:
            return version, _object(_FROM_JSON.decode(text))
        parsed, end = _SCAN(text, start)
        if end < len(text):
            raise ValueError(f"more after {end} characters")
        return version, _object(parsed)
    except StopIteration as error:
        raise _unreadable(ValueError("it is empty"), session_id, position, record) from error
    except _UNREADABLE as error:
        raise _unreadable(error, session_id, position, record) from error


def _unreadable(
    error: BaseException, session_id: str, position: int | None, record: bytes
) -> CorruptRecord:
    return CorruptRecord(
        f"the record cannot be read ({error})",
        session_id=session_id,
        position=position,
        raw=record,
    )


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


_FROM_JSON = json.JSONDecoder(parse_constant=_no_constant)
_SCAN: Callable[[str, int], tuple[Any, int]] = _FROM_JSON.scan_once  # type: ignore[attr-defined] # not in the stubs
"""Reads one value at a place in a text, and tells where it ends: most of what `decode` costs."""


def _pack(value: object, path: str, depth: int) -> object:
    """Turn a value into JSON types. Exact types only: a subclass would not come back as itself."""
    if not depth:
        raise NotSerializable(f"{path}: nested deeper than {MAX_DEPTH} levels")
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return value
    if isinstance(value, dict) and kind is dict:
        return {_key(key, path): _pack(value[key], f"{path}.{key}", depth - 1) for key in value}
    if isinstance(value, list) and kind is list:
        return [_pack(item, f"{path}[{i}]", depth - 1) for i, item in enumerate(value)]
    if pack := _PACKERS.get(kind):
        return pack(value, path)
    raise NotSerializable(f"{path}: {kind.__name__} would not come back as what it is")


def _key(key: object, path: str) -> str:
    if not isinstance(key, str) or type(key) is not str:
        raise NotSerializable(f"{path}: the key {key!r} is not text")
    return f"${key}" if key.startswith("$") else key


def _lone_surrogate(packed: object, path: str) -> str:
    """Return where in a packed value there is text that UTF-8 cannot hold."""
    if isinstance(packed, dict):
        for key, value in packed.items():
            if _lone_surrogate(key, "?"):
                return path
            if found := _lone_surrogate(value, f"{path}.{key}"):
                return found
    if isinstance(packed, list):
        return next(
            filter(None, (_lone_surrogate(v, f"{path}[{i}]") for i, v in enumerate(packed))), ""
        )
    return path if isinstance(packed, str) and _SURROGATE.search(packed) else ""


def _pack_integer(value: int, path: str) -> object:
    if value.bit_length() > MAX_INTEGER_BITS:
        raise NotSerializable(f"{path}: an integer of over 4300 digits could not be read back")
    return value


def _pack_float(value: float, path: str) -> object:
    if not math.isfinite(value):
        raise NotSerializable(f"{path}: {value} has no place in JSON")
    return value


def _pack_datetime(value: datetime, path: str) -> object:
    if value.tzinfo is None:
        raise NotSerializable(f"{path}: a datetime without a time zone names no moment")
    if isinstance(value.tzinfo, ZoneInfo) and value.tzinfo.key is not None:
        local = value.replace(tzinfo=None, fold=0).isoformat()
        return {"$zoned": [local, value.tzinfo.key, value.fold]}
    if type(value.tzinfo) is not timezone:
        raise NotSerializable(f"{path}: a time zone of type {type(value.tzinfo).__name__}")
    return {"$datetime": value.isoformat()}


def _pack_decimal(value: Decimal, path: str) -> object:
    if not value.is_finite():
        raise NotSerializable(f"{path}: Decimal {value} has no place in a record")
    return {"$decimal": str(value)}


def _unpack_zoned(packed: list[Any]) -> datetime:
    local, zone, fold = packed
    return datetime.fromisoformat(local).replace(tzinfo=ZoneInfo(zone), fold=fold)


def _unpack(value: object) -> object:
    if isinstance(value, list):
        return [_unpack(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((key, packed),) = value.items()
        if key.startswith("$") and not key.startswith("$$"):
            if key not in _UNPACKERS:
                raise ValueError(f"unknown type tag {key}")
            return _UNPACKERS[key](packed)
    return {key.removeprefix("$"): _unpack(item) for key, item in value.items()}


_PACKERS: dict[type, Callable[[Any, str], object]] = {
    int: _pack_integer,
    float: _pack_float,
    datetime: _pack_datetime,
    date: lambda value, _: {"$date": value.isoformat()},
    Decimal: _pack_decimal,
    bytes: lambda value, _: {"$bytes": b64encode(value).decode()},
    UUID: lambda value, _: {"$uuid": str(value)},
}
_UNPACKERS: dict[str, Callable[[Any], object]] = {
    "$datetime": datetime.fromisoformat,
    "$zoned": _unpack_zoned,
    "$date": date.fromisoformat,
    "$decimal": Decimal,
    "$bytes": lambda packed: b64decode(packed, validate=True),
    "$uuid": UUID,
}
