"""val: what goes in comes back equal and of the same type, or is refused before it is sent."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import hypothesis
import pytest
from hypothesis import strategies as st

from contract_tests.fix_stores import RUN, OpenStore
from harness.backends import Backend
from harness.contracts import contract, needs
from harness.inspectors import Inspector
from harness.sameness import difference, message_difference
from harness.servers import Server
from stores.interface import MemoryStore, Message

pytestmark = needs("history", "context")

SESSION = "a session"
BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2024, 2, 29, 12, 30, tzinfo=UTC)

TEXTS = [
    *("", " ", "\x00", "a\x00b", "\r\n\t\x7f\x1b", "\\", '"', "'", "%s", "\\u0000", "é", "e\u0301"),
    *("\U0001f44b\U0001f3fd", "שלום עולם", "\u202eRTL", "\u2028", "\ufeff", "\uffff", "\ue000"),
    "\U0010ffff",
]
LOOKALIKES = [
    *("2024-02-29", "2024-02-29T12:30:00", "2024-02-29T12:30:00+00:00", "12:30", "1718000000.5"),
    *("1", "-0", "1.10", "1e5", "0x10", "NaN", "Infinity", "null", "None", "true", "False"),
    *("{}", "[]", '"quoted"', '{"$date":"2024-02-29"}', "$date", "v1 {}", "b'bytes'", "AP/+"),
    "12345678-1234-5678-1234-567812345678",
]
"""Text that other types look like when they are written down."""

VALUES: dict[str, Any] = {
    "nothing and truth": [None, True, False, 1, 0, 1.0, 0.0],
    "integers": [2**31, 2**53 + 1, -(2**63), 2**64, 2**70, -(10**40)],
    "floats": [-0.0, 1e22, 1e16, 0.1, 5e-324, 1.7976931348623157e308, 1e-7],
    "decimals": [Decimal(text) for text in ("1.10", "-0", "0E-10", "1E+400", "0." + "3" * 60)],
    "datetimes": [
        NOW,
        NOW.replace(microsecond=1),
        datetime.min.replace(tzinfo=UTC),
        datetime.max.replace(tzinfo=UTC),
        NOW.astimezone(timezone(timedelta(hours=5, minutes=45))),
        NOW.astimezone(timezone(timedelta(hours=-3, seconds=-7))),
    ],
    "datetimes of a zone": [
        NOW.astimezone(BERLIN),
        datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN),
        datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN, fold=1),
        datetime(2024, 3, 31, 2, 30, tzinfo=BERLIN),
        NOW.astimezone(ZoneInfo("UTC")),
    ],
    "dates": [date(2024, 2, 29), date.min, date.max],
    "bytes": [b"", b"\x00\xff\xfe", bytes(range(256)), b"text"],
    "UUIDs": [UUID(int=0), UUID("12345678-1234-5678-1234-567812345678")],
    "text": TEXTS,
    "containers": [[], {}, [[]], {"": {}}, [{"a": [{"b": [None, [b"", Decimal(1)]]}]}]],
    "key order": {"b": 1, "a": 2, "aa": 3, "A": 4, "10": 5, "9": 6, "": 7},
    "keys": {text: number for number, text in enumerate(TEXTS + LOOKALIKES)},
    "keys like tags": [{"$date": "2024-02-29"}, {"$": 1}, {"$$date": {"$bytes": "AP/+"}}],
}


def nested(depth: int) -> Any:
    """Return a value nested so deep."""
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@contract("val-1")
def test_values_come_back_as_what_they_are(store: MemoryStore) -> None:
    """Values of every allowed type come back equal, of the same type and in the same order.

    Which type the path in the message has: jsonb reorders keys, Lua keeps 14 digits of a
    number and turns [] into {}, a text column refuses NUL.
    """
    value = VALUES | {"nested": nested(60)}
    store.save_context(SESSION, value)
    loaded = store.load_context(SESSION)
    assert loaded
    assert (difference(loaded.value, value)) is None

    said = [Message("tool", "", metadata=value, created_at=VALUES["datetimes of a zone"][2])]
    said += [Message(text, text, id=text or "empty") for text in TEXTS]
    stored = store.append_messages(SESSION, said)
    for history in (stored, store.get_history(SESSION)):
        for got, wanted in zip(history, said, strict=True):
            assert message_difference(got, wanted) is None


@contract("val-3")
def test_text_stays_text(store: MemoryStore) -> None:
    """Text that looks like a date, a number or JSON stays text, wherever it stands.

    Whether a reader guesses types from text, rather than reading what was written down.
    """
    value = {"items": LOOKALIKES, "keys": {text: text for text in LOOKALIKES}}
    said = [Message(text, text, id=text, metadata={text: text}) for text in LOOKALIKES]
    store.save_context(SESSION, value)
    store.append_messages(SESSION, said)
    session = store.load_session(SESSION)
    assert session
    assert session.context
    assert difference(session.context.value, value) is None
    for got, wanted in zip(session.history, said, strict=True):
        assert message_difference(got, wanted) is None
    for text in LOOKALIKES:
        store.append_message(text, Message("user", text))
    assert {*store.iter_sessions()} == {SESSION, *LOOKALIKES}


ZONES = st.sampled_from([UTC, BERLIN, ZoneInfo("Asia/Kathmandu"), timezone(timedelta(minutes=-1))])
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
    st.decimals(allow_nan=False, allow_infinity=False),
    st.datetimes(timezones=ZONES),
    st.dates(),
    st.binary(max_size=40),
    st.uuids(),
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
SETTINGS = hypothesis.settings(
    database=None,
    deadline=None,
    max_examples=15,
    phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink],
    suppress_health_check=list(hypothesis.HealthCheck),  # they judge a machine's pace, not a store
)


@contract("val-4")
def test_any_value_the_store_accepts_comes_back(store: MemoryStore, rng: random.Random) -> None:
    """Any value that the store accepts comes back equal and of the same type.

    The smallest value that hypothesis found, in the message's last lines.
    """

    @hypothesis.seed(rng.getrandbits(64))
    @SETTINGS
    @hypothesis.given(st.lists(ANYTHING, min_size=3, max_size=6))
    def comes_back(values: list[Any]) -> None:
        message = Message("user", "", metadata={"values": values})
        store.save_context(SESSION, message.metadata)
        store.append_message(SESSION, message)
        session = store.load_session(SESSION, 1)
        assert session
        assert session.context
        assert difference(session.context.value, message.metadata) is None
        assert message_difference(session.history[0], message) is None

    comes_back()


@pytest.fixture(scope="session")
def narrow_url(server: Server, software: Backend) -> Iterator[str]:
    """A place whose encoding lacks most text. Made once: on some servers it takes a while."""
    inspector = software.inspector(server.url, f"matrix-{RUN}-narrow")
    yield inspector.narrow_url()
    inspector.close()


@contract("val-8")
def test_no_encoding_changes_text(
    store: MemoryStore, open_store: OpenStore, inspector: Inspector, narrow_url: str
) -> None:
    """Encodings and decode settings of client and server cannot change text.

    Whether text travels as bytes, so that no setting on its way applies.
    """
    narrow = open_store(url=narrow_url)
    pairs = [(narrow, narrow)]
    for url in inspector.recoding_urls():
        recoding = open_store(url=url)
        pairs += [(recoding, store), (store, recoding), (recoding, recoding)]
    said = [Message(text, text, id=text or "empty", metadata={text: text}) for text in TEXTS]
    value = {text: text for text in TEXTS}
    session_id = "שלום \U0001f44b"
    for writer, reader in pairs:
        written = writer.append_messages(session_id, said)
        writer.save_context(session_id, value)
        session = reader.load_session(session_id)
        assert session
        assert session.context
        assert difference(session.context.value, value) is None
        assert session.history == written
        for got, wanted in zip(session.history, said, strict=True):
            assert message_difference(got, wanted) is None
        assert session_id in reader.iter_sessions()
        assert writer.delete_session(session_id)
