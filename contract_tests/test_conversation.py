"""conv: order, limit and identity of a session's messages."""

from __future__ import annotations

from harness.contracts import contract
from harness.inspectors import Inspector
from stores.interface import MemoryStore, Message

SESSION = "a session"


@contract("conv-1")
def test_what_is_appended_is_read_back(store: MemoryStore, inspector: Inspector) -> None:
    """What is appended is read back: same content, same order, repeated identical texts kept."""
    said = [
        Message("user", text) for text in ("hello", "again", "again", "", "bye\n\x00\U0001f44b")
    ]
    for message in said:
        store.append_message(SESSION, message)

    history = store.get_history(SESSION)
    assert [stored.message for stored in history] == said
    assert [stored.position for stored in history] == [1, 2, 3, 4, 5]
    assert [raw.position for raw in inspector.messages(SESSION)] == [1, 2, 3, 4, 5]
