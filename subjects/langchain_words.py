"""LangChain's messages, as the interface's."""

from __future__ import annotations

from langchain_core.messages import AIMessage, BaseMessage, ChatMessage, HumanMessage, SystemMessage

from stores import Message, StoredMessage
from subjects.words import EXTRA, extra_of, stored

KINDS: dict[str, type[BaseMessage]] = {
    "user": HumanMessage,
    "assistant": AIMessage,
    "system": SystemMessage,
}
ROLES = {"human": "user", "ai": "assistant", "system": "system"}


def theirs(message: Message) -> BaseMessage:
    """Return a message as LangChain has it; ``additional_kwargs`` is for whatever else there is."""
    extra = {EXTRA: extra_of(message)}
    if message.role in KINDS:
        kind = KINDS[message.role]
        return kind(content=message.content, id=message.id, additional_kwargs=extra)
    return ChatMessage(
        role=message.role, content=message.content, id=message.id, additional_kwargs=extra
    )


def ours(messages: list[BaseMessage]) -> list[StoredMessage]:
    """Return a whole history: a message's position is its place in it."""
    return [
        stored(
            one.role if isinstance(one, ChatMessage) else ROLES[one.type],
            str(one.content),
            one.id or "",
            one.additional_kwargs[EXTRA],
            place,
        )
        for place, one in enumerate(messages, start=1)
    ]
