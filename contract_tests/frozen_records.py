"""Records as every release so far has written them, byte for byte, and what they must be read as.

Never edit a record here: sessions that hold such bytes exist. A new format adds its own.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from stores.interface import Message

EVERY_TYPE: dict[str, Any] = {
    "none": None,
    "yes": True,
    "int": 7,
    "big": 2**70,
    "float": 1e22,
    "minus zero": -0.0,
    "third": 0.1,
    "text": "naïve \x00 \U0001f44b שלום \u2028",
    "list": [1, [2.5, []]],
    "dict": {"b": 1, "a": {}, "": None},
    "datetime": datetime(2024, 2, 29, 12, 30, 15, 123456, tzinfo=UTC),
    "offset": datetime(2024, 2, 29, 12, 30, tzinfo=timezone(timedelta(hours=5, minutes=45))),
    "zoned": datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1),
    "date": date(2024, 2, 29),
    "decimal": Decimal("1.10"),
    "exponent": Decimal("-1E+400"),
    "bytes": b"\x00\xff\xfe",
    "uuid": UUID("12345678-1234-5678-1234-567812345678"),
    "tag": {"$date": "2024-02-29"},
    "$": {"$$": 1},
}
V1_FIELDS = (
    rb'"none":null,"yes":true,"int":7,"big":1180591620717411303424,"float":1e+22,'
    rb'"minus zero":-0.0,"third":0.1,"text":"na'
    b"\xc3\xafve \\u0000 \xf0\x9f\x91\x8b \xd7\xa9\xd7\x9c\xd7\x95\xd7\x9d \xe2\x80\xa8"
    rb'","list":[1,[2.5,[]]],"dict":{"b":1,"a":{},"":null},'
    rb'"datetime":{"$datetime":"2024-02-29T12:30:15.123456+00:00"},'
    rb'"offset":{"$datetime":"2024-02-29T12:30:00+05:45"},'
    rb'"zoned":{"$zoned":["2024-10-27T02:30:00","Europe/Berlin",1]},'
    rb'"date":{"$date":"2024-02-29"},"decimal":{"$decimal":"1.10"},'
    rb'"exponent":{"$decimal":"-1E+400"},"bytes":{"$bytes":"AP/+"},'
    rb'"uuid":{"$uuid":"12345678-1234-5678-1234-567812345678"},'
    rb'"tag":{"$$date":"2024-02-29"},"$$":{"$$$":1}'
)
AT = datetime(2024, 6, 10, 6, 13, 20, tzinfo=UTC)

MESSAGES: list[tuple[bytes, dict[str, Any]]] = [
    # The first releases: plain JSON, a float timestamp, no version, no id.
    (
        b'{"role": "user", "content": "hello", "timestamp": 1718000000.654321}',
        {"role": "user", "content": "hello", "created_at": AT.replace(microsecond=654321)},
    ),
    (
        b'{"content":"na\\u00efve \\u0000 \\ud83d\\udc4b","timestamp":1718000000.0,"role":"user"}',
        {"role": "user", "content": "naïve \x00 \U0001f44b", "created_at": AT},
    ),
    (
        b'{"role": "tool", "content": "", "timestamp": -0.5, "metadata": {"$date": "2024-06"}}\n',
        {
            "role": "tool",
            "content": "",
            "metadata": {"$date": "2024-06"},
            "created_at": datetime(1969, 12, 31, 23, 59, 59, 500000, tzinfo=UTC),
        },
    ),
    # Version 1: tagged types.
    (
        b'v1 {"role":"assistant","content":"On it \xf0\x9f\x91\x8d",'
        b'"id":"0b9d5f7e2c1a4f3e8d6b7a5c4e3f2d1c","metadata":{' + V1_FIELDS + b"},"
        b'"created_at":{"$datetime":"2024-06-10T06:13:20.654321+00:00"}}',
        {
            "role": "assistant",
            "content": "On it \U0001f44d",
            "id": "0b9d5f7e2c1a4f3e8d6b7a5c4e3f2d1c",
            "metadata": EVERY_TYPE,
            "created_at": AT.replace(microsecond=654321),
        },
    ),
]
"""Message records with the fields that must be read from them."""

CONTEXTS: list[tuple[bytes, dict[str, Any]]] = [
    (b"{}", {}),
    (
        b'{"name": "Ad\\u00e9la", "seen": "2024-06-10T06:13:20", "$date": "2024-06-10", "n": 1.0}',
        {"name": "Adéla", "seen": "2024-06-10T06:13:20", "$date": "2024-06-10", "n": 1.0},
    ),
    (b"v1 {}", {}),
    (b"v1 {" + V1_FIELDS + b"}", EVERY_TYPE),
]
"""Context records with the values that must be read from them."""

FROM_THE_FUTURE: list[tuple[bytes, int]] = [
    (b'v2 {"role":"user","content":"hello","id":"x","metadata":{},"created_at":0}', 2),
    (b"v2 {}", 2),
    (b"v10 \x93\x01\x02\xff", 10),
]
"""Records of versions that this release does not know, with their versions."""


def message_at(position: int, fields: dict[str, Any]) -> Message:
    """Return the message a record must be read as. One without an id gets it from its place."""
    return Message(**{"id": f"v0-{position}", "metadata": {}, **fields})
