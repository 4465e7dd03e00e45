"""What may become of a message after it was sent: edits, deletions and reactions as values, and one rule for each.

Pure. A store asks `decide` with the message as it is stored, and gives the conversation's next change number to what
comes out; nothing else may change a message.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from .domain import ConversationId, Later, Message, Reaction, UserId
from .repeats import same_json


class Outcome(Enum):
    """What came of a change."""

    DONE = "done"
    DUPLICATE = "duplicate"  # this very change was done before
    UNCHANGED = "unchanged"  # the message is as it was asked for already; no number was spent
    NOT_FOUND = "not_found"
    DELETED = "deleted"
    FORBIDDEN = "forbidden"
    TOO_LATE = "too_late"
    VERSION_CONFLICT = "version_conflict"  # somebody changed the message since `if_change`
    KEY_CONFLICT = "key_conflict"  # the key was used for another edit of this message
    TOO_MANY = "too_many"  # reactions, or, where a store bounds it, changes of one message within a moment; or people
    STRANGER = "stranger"  # who is to get a role does not take part


@dataclass(frozen=True, slots=True)
class Edit:
    """New content of a message, whole: what is left out is gone.

    Attributes:
        user_id: who edits; only the sender may.
        key: that user's own name for the edit; the last one of a message is remembered.
        at_ms: when.
        since_ms: messages that were created before may not be edited any more; None: any may be.
        if_change: only if the message has this change number; None: in any case.
    """

    conversation_id: ConversationId
    seq: int
    user_id: UserId
    key: str
    body: str
    at_ms: int
    metadata: dict[str, Any] | None = None
    mentions: tuple[UserId, ...] = ()
    since_ms: int | None = None
    if_change: int | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """A message that is to be gone for everybody; what stays is a tombstone.

    Attributes:
        others: whether the user may delete what somebody else sent.
        since_ms: as for an Edit.
    """

    conversation_id: ConversationId
    seq: int
    user_id: UserId
    at_ms: int
    others: bool = False
    since_ms: int | None = None


@dataclass(frozen=True, slots=True)
class ReactionLimits:
    """Attributes: different: reactions on one message. of_user: of one user on one message. total: of all users."""

    different: int = 20
    of_user: int = 5
    total: int = 1000


@dataclass(frozen=True, slots=True)
class React:
    """A user's reaction, set or taken back: never toggled, so that a repeat is harmless."""

    conversation_id: ConversationId
    seq: int
    user_id: UserId
    reaction: str
    on: bool
    limits: ReactionLimits = ReactionLimits()


Change = Edit | Delete | React


def decide(message: Message, change: Change) -> tuple[Outcome, Message]:
    """What comes of a change to a message, and the message then; its numbers are left as they are."""
    if isinstance(change, Edit):
        return _edit(message, change)
    if isinstance(change, Delete):
        return _delete(message, change)
    return _react(message, change)


def _edit(message: Message, edit: Edit) -> tuple[Outcome, Message]:
    if message.sender_id != edit.user_id or message.system is not None:
        return Outcome.FORBIDDEN, message
    if message.deleted:
        return Outcome.DELETED, message
    same = (
        message.body == edit.body and message.mentions == edit.mentions and same_json(message.metadata, edit.metadata)
    )
    if message.later.edit_key == edit.key:
        return Outcome.DUPLICATE if same else Outcome.KEY_CONFLICT, message
    if edit.since_ms is not None and message.created_at_ms < edit.since_ms:
        return Outcome.TOO_LATE, message
    if edit.if_change is not None and message.change != edit.if_change:
        return Outcome.VERSION_CONFLICT, message
    if same:
        return Outcome.UNCHANGED, message
    later = replace(message.later, edited_at_ms=edit.at_ms, edit_key=edit.key)
    return Outcome.DONE, replace(message, body=edit.body, metadata=edit.metadata, mentions=edit.mentions, later=later)


def _delete(message: Message, delete: Delete) -> tuple[Outcome, Message]:
    if message.deleted:
        return Outcome.DUPLICATE, message
    if message.system is not None or (message.sender_id != delete.user_id and not delete.others):
        return Outcome.FORBIDDEN, message
    if delete.since_ms is not None and message.created_at_ms < delete.since_ms:
        return Outcome.TOO_LATE, message
    # Nothing else of what has happened to it stays.
    later = Later(born=message.later.born, deleted_at_ms=delete.at_ms, deleted_by=delete.user_id)
    return Outcome.DONE, replace(message, body="", metadata=None, mentions=(), later=later)


def _react(message: Message, react: React) -> tuple[Outcome, Message]:
    if message.deleted:
        return Outcome.DELETED, message
    reactions = message.later.reactions
    own = [each.reaction for each in reactions if react.user_id in each.user_ids]
    if (react.reaction in own) == react.on:
        return Outcome.UNCHANGED, message
    if react.on:
        if _too_many(reactions, own, react):
            return Outcome.TOO_MANY, message
        changed = _with(reactions, react.reaction, react.user_id)
    else:
        changed = _without(reactions, react.reaction, react.user_id)
    return Outcome.DONE, replace(message, later=replace(message.later, reactions=changed))


def _too_many(reactions: tuple[Reaction, ...], own: list[str], react: React) -> bool:
    limits = react.limits
    is_new = all(each.reaction != react.reaction for each in reactions)
    return (
        0 < limits.of_user <= len(own)
        or (is_new and 0 < limits.different <= len(reactions))
        or 0 < limits.total <= sum(len(each.user_ids) for each in reactions)
    )


def _with(reactions: tuple[Reaction, ...], reaction: str, user_id: UserId) -> tuple[Reaction, ...]:
    for place, each in enumerate(reactions):
        if each.reaction == reaction:
            more = Reaction(reaction, (*each.user_ids, user_id))
            return (*reactions[:place], more, *reactions[place + 1 :])
    return (*reactions, Reaction(reaction, (user_id,)))


def _without(reactions: tuple[Reaction, ...], reaction: str, user_id: UserId) -> tuple[Reaction, ...]:
    left = []
    for each in reactions:
        if each.reaction == reaction:
            each = Reaction(reaction, tuple(other for other in each.user_ids if other != user_id))
        if each.user_ids:
            left.append(each)
    return tuple(left)
