"""socketserver.chat.repeats"""

from __future__ import annotations

import dataclasses
from socketserver.chat.domain import (
    Conversation,
    ConversationDraft,
    ConversationId,
    Message,
    MessageDraft,
    MessageId,
    UserId,
)
from socketserver.chat.repeats import conversation_dedupe_key, same_content, same_conversation
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

ANN, BOB, CAT = UserId("ann"), UserId("bob"), UserId("cat")


def stored(body: str = "hi", metadata: dict[str, Any] | None = None) -> Message:
    return Message(MessageId("m"), ConversationId("c"), 1, 1, ANN, "key", body, metadata, 5)


def draft(body: str = "hi", metadata: dict[str, Any] | None = None) -> MessageDraft:
    return MessageDraft(MessageId("other"), ConversationId("c"), ANN, "key", body, metadata, 9)


def test_direct_conversation_is_one_for_ever() -> None:
    """Whoever starts it, with any key or none: two people mean the same direct conversation."""
    people = (ANN, BOB)
    keys = {
        conversation_dedupe_key("direct", people, creator, key)
        for creator in people
        for key in (None, "key-1", "key-2")
    }
    assert len(keys) == 1


def test_group_repeats_by_its_creators_key() -> None:
    """A group without a key is always new; with one it is the same for its creator only."""
    people = (ANN, BOB, CAT)
    assert conversation_dedupe_key("group", people, ANN, None) is None
    assert conversation_dedupe_key("group", people, ANN, "k") == conversation_dedupe_key("group", (ANN, BOB), ANN, "k")
    assert conversation_dedupe_key("group", people, ANN, "k") != conversation_dedupe_key("group", people, BOB, "k")


@given(*[st.tuples(st.sampled_from(["direct", "group"]), st.text(), st.text())] * 2)
def test_dedupe_keys_do_not_collide(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    """No choice of user ids and keys makes two different conversations look the same."""

    def key(kind: str, first: str, second: str) -> str | None:
        if kind == "direct":
            return conversation_dedupe_key("direct", (UserId(first), UserId(second)), UserId(first), None)
        return conversation_dedupe_key("group", (), UserId(first), second)

    assert (key(*one) == key(*other)) == (one == other)


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (None, None, True),
        (None, {}, False),
        ({"a": 1, "b": [1, {"c": None}]}, {"b": [1, {"c": None}], "a": 1}, True),
        ({"a": 1}, {"a": 1.0}, False),
        ({"a": 1}, {"a": True}, False),
        ({"a": [1, 2]}, {"a": [2, 1]}, False),
    ],
)
def test_same_metadata(first: dict[str, Any] | None, second: dict[str, Any] | None, same: bool) -> None:
    """Metadata is compared as JSON: the order of keys does not matter; 1, 1.0 and true differ."""
    assert same_content(stored(metadata=first), draft(metadata=second)) == same


def test_same_body() -> None:
    """A repeat has the same body to the letter; ids and times do not count."""
    assert same_content(stored("hi"), draft("hi"))
    assert not same_content(stored("hi"), draft("hi "))


def test_same_conversation() -> None:
    """A repeated request asks for the same kind, title and participants; who asks and when does not count."""
    conversation = Conversation(ConversationId("c"), "group", "T", ANN, (ANN, BOB), 1)
    repeat = ConversationDraft(ConversationId("d"), "group", "T", BOB, (ANN, BOB), 2, "key")
    assert same_conversation(conversation, repeat)
    assert not same_conversation(conversation, dataclasses.replace(repeat, title=None))
    assert not same_conversation(conversation, dataclasses.replace(repeat, participant_ids=(ANN, CAT)))
    assert not same_conversation(conversation, dataclasses.replace(repeat, kind="direct"))
