"""What makes two requests the same one: a repeat is answered with what the first has made, or is a conflict. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from .domain import Conversation, ConversationDraft, ConversationKind, Message, MessageDraft, UserId


def conversation_dedupe_key(
    kind: ConversationKind, participant_ids: Sequence[UserId], created_by: UserId, idempotency_key: str | None
) -> str | None:
    """What makes two requests mean the same conversation.

    Two people have one direct conversation, whoever starts it; a group is the same if the same user asked for it
    with the same idempotency key; without a key it is always a new one.
    """
    if kind == "direct":
        return json.dumps(["direct", *participant_ids])
    if idempotency_key is not None:
        return json.dumps(["group", created_by, idempotency_key])
    return None


def same_content(message: Message, draft: MessageDraft) -> bool:
    """Whether a repeat carries what the original carried, as far as that is known: of a message that was edited or
    deleted it is not any more. Metadata is compared as JSON: key order does not matter, `1`, `1.0`, `true` differ."""
    if message.later.edited_at_ms is not None or message.deleted:
        return True
    return (
        message.body == draft.body
        and message.reply_to == draft.reply_to
        and message.mentions == draft.mentions
        and same_json(message.metadata, draft.metadata)
    )


def same_conversation(conversation: Conversation, draft: ConversationDraft) -> bool:
    """Whether a repeated request asks for what the first one made, as far as that is known: of one whose people or
    title have changed since it is not any more."""
    if conversation.rev > draft.rev:
        return conversation.kind == draft.kind
    return (conversation.kind, conversation.title, conversation.participant_ids) == (
        draft.kind,
        draft.title,
        draft.participant_ids,
    )


def same_json(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> bool:
    """Whether two JSON objects are equal: key order does not matter, `1`, `1.0` and `true` differ."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
