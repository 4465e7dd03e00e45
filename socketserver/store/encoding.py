"""How values lie in a database, the same in every store. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields
from typing import Any, Final

from ..chat.changes import Change
from ..chat.domain import (
    UNTOUCHED,
    Conversation,
    ConversationDraft,
    Later,
    Message,
    MessageDraft,
    Reaction,
    System,
    UserId,
)
from ..chat.people import ConversationChange

INT64_MAX: Final = 2**63 - 1
_INT64_MIN: Final = -(2**63)


def dump_metadata(metadata: dict[str, Any] | None) -> str | None:
    """Metadata as JSON text: field names with dots and dollars, and numbers of any size, stay what they are.

    Raises: ValueError for what is not JSON (NaN among it).
    """
    return None if metadata is None else json.dumps(metadata, allow_nan=False, separators=(",", ":"))


def load_metadata(text: str | None) -> dict[str, Any] | None:
    """What `dump_metadata` made a text of."""
    loaded: dict[str, Any] | None = None if text is None else json.loads(text)
    return loaded


def dump_extra(message: Message | MessageDraft) -> str | None:
    """What few messages have from the start, as JSON text; None for those that have nothing of it."""
    if message.reply_to is None and not message.mentions and message.system is None:
        return None
    extra: dict[str, Any] = {}
    if message.reply_to is not None:
        extra["reply_to"] = message.reply_to
    if message.mentions:
        extra["mentions"] = message.mentions
    if (system := message.system) is not None:
        extra["system"] = [system.type, system.user_ids, system.role, system.title]
    return _text(extra)


def load_extra(text: str | None) -> tuple[int | None, tuple[UserId, ...], System | None]:
    """What `dump_extra` made a text of: reply_to, mentions and system."""
    if text is None:
        return None, (), None
    extra = json.loads(text)
    system = None
    if "system" in extra:
        kind, user_ids, role, title = extra["system"]
        system = System(kind, tuple(user_ids), role, title)
    return extra.get("reply_to"), tuple(extra.get("mentions", ())), system


_TOLD: Final = tuple(each.name for each in fields(Later) if each.name not in {"born", "reactions"})


def dump_later(later: Later) -> str | None:
    """What has happened to a message, without `born`, as JSON text; None if that is nothing."""
    told: dict[str, Any] = {name: value for name in _TOLD if (value := getattr(later, name)) is not None}
    if later.reactions:
        told["reactions"] = [[each.reaction, each.user_ids] for each in later.reactions]
    return _text(told) if told else None


def load_later(born: int | None, text: str | None) -> Later:
    """What `dump_later` made a text of; `born` is kept beside it, None as long as it is the change number."""
    if text is None:
        return UNTOUCHED if born is None else Later(born)
    told = json.loads(text)
    reactions = tuple(Reaction(reaction, tuple(user_ids)) for reaction, user_ids in told.pop("reactions", ()))
    return Later(born or 0, reactions=reactions, **told)


def texts_of(change: Change | ConversationChange) -> Iterator[str]:
    """All texts of a change, of whatever kind it is: what a database has to be able to hold.

    Raises: ValueError for metadata that is not JSON.
    """
    for each in fields(change):
        value = getattr(change, each.name)
        if isinstance(value, str):
            yield value
        elif isinstance(value, tuple):
            yield from value
        elif isinstance(value, dict):
            yield dump_metadata(value) or ""


def _text(value: dict[str, Any]) -> str:
    # Not escaped to ASCII: a lone surrogate must not get in as six harmless characters.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def conversation_draft(conversation: Conversation, dedupe_key: str | None, activity_at_ms: int) -> ConversationDraft:
    """A conversation as it is, as what it is copied from."""
    return ConversationDraft(
        conversation.id,
        conversation.kind,
        conversation.title,
        conversation.created_by,
        conversation.participant_ids,
        conversation.created_at_ms,
        dedupe_key,
        activity_at_ms,
        conversation.metadata,
        conversation.roles,
        conversation.entries,
        conversation.rev,
    )


def may_become(stored: Conversation, draft: ConversationDraft) -> bool:
    """Whether a conversation that is stored is an earlier state of one that is copied, or is it already."""
    if stored.rev == draft.rev:
        return stored == draft.made()
    same = (stored.id, stored.kind, stored.created_by, stored.created_at_ms)
    return stored.rev < draft.rev and same == (draft.id, draft.kind, draft.created_by, draft.created_at_ms)


def int64(number: int) -> int:
    """A cursor as a database can hold it; beyond that range there is nothing to tell apart."""
    return max(_INT64_MIN, min(number, INT64_MAX))
