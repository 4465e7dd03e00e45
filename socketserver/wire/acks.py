"""What requests are answered with beside `ok`, as types. Every key is explained, as in shapes.py.

tests/integration/test_typescript_wire.py holds a real server to them.
"""

from __future__ import annotations

from typing import NotRequired, TypedDict

from .shapes import (
    ConversationSummaryWire,
    ConversationWire,
    GapWire,
    MessageWire,
    ParticipantWire,
    PresenceWire,
    UserWire,
)


class AuthenticateAck(TypedDict):
    """The socket has its user.

    Attributes:
        user: Who the token says you are.
    """

    user: UserWire


class CreateConversationAck(TypedDict):
    """The conversation exists.

    Attributes:
        conversation: The new one, or the one that this request repeats.
        duplicate: Whether it existed before.
    """

    conversation: ConversationWire
    duplicate: bool


class ListConversationsAck(TypedDict):
    """A page of your conversations.

    Attributes:
        conversations: At most `limit`, the one with the most recent activity first.
        presence: The other side of each direct conversation on this page.
        hasMore: Whether there are older ones.
        nextBefore: The `before` of the next page; null on the last. Its form may change.
    """

    conversations: list[ConversationSummaryWire]
    presence: list[PresenceWire]
    hasMore: bool
    nextBefore: str | None


class JoinConversationAck(TypedDict):
    """The conversation as it is now, and what you missed.

    Attributes:
        conversation: The conversation.
        participants: The first of them in the order of ids, and you; `list_participants` has the others.
        messages: In `seq` order: the newest `limit`, or with `after` those whose `change` is greater.
        change: The newest change at this moment: your next `after`; 0 while there is none.
        lastSeq: The newest seq at this moment; 0 while there is no message.
        readSeq: Your read mark: up to which seq you have read; 0 for nothing.
        unreadCount: `lastSeq` minus `readSeq`; 0 or more.
        typing: The user ids of who types at this moment, without yourself.
        gap: What `messages` left out; only if you gave `after` and missed more than fits.
    """

    conversation: ConversationWire
    participants: list[ParticipantWire]
    messages: list[MessageWire]
    change: int
    lastSeq: int
    readSeq: int
    unreadCount: int
    typing: list[str]
    gap: NotRequired[GapWire]


class LeaveConversationAck(TypedDict):
    """The socket hears no more of the conversation."""


class SendMessageAck(TypedDict):
    """The message is stored.

    Attributes:
        message: As it is stored, with its `seq`.
        duplicate: Whether it had been stored before; `message` is the first one then.
    """

    message: MessageWire
    duplicate: bool


class MarkReadAck(TypedDict):
    """Your read mark is there, or further.

    Attributes:
        readSeq: Your read mark now; 0 while there is no message.
        unreadCount: The newest seq minus `readSeq`; 0 or more.
    """

    readSeq: int
    unreadCount: int


class FetchHistoryAck(TypedDict):
    """A page of messages.

    Attributes:
        messages: In `seq` order: the newest below `beforeSeq`, the oldest above `afterSeq`, or the newest of all.
        hasMore: Whether there are more in that direction.
    """

    messages: list[MessageWire]
    hasMore: bool


class ListParticipantsAck(TypedDict):
    """A page of participants.

    Attributes:
        participants: At most `limit`, those after `after` in the order of ids.
        hasMore: Whether there are more.
        nextAfter: The `after` of the next page; null on the last.
    """

    participants: list[ParticipantWire]
    hasMore: bool
    nextAfter: str | None


class SetTypingAck(TypedDict):
    """It is noted."""


class SetVisibilityAck(TypedDict):
    """It is noted."""
