"""What is answered beside `ok`, an object for each event of the table. Every key is explained, as in shapes.py."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from . import shapes


class AuthenticateAck(TypedDict):
    """The socket has its user.

    Attributes:
        user: Who the token says you are.
    """

    user: shapes.UserWire


class CreateConversationAck(TypedDict):
    """The conversation exists.

    Attributes:
        conversation: The new one, or the one that this request repeats.
        duplicate: Whether it existed before.
        profiles: How the users under its `participantIds` are shown.
    """

    conversation: shapes.ConversationWire
    duplicate: bool
    profiles: list[shapes.ProfileWire]


class ListConversationsAck(TypedDict):
    """A page of your conversations.

    Attributes:
        conversations: At most `limit`, the one with the most recent activity first.
        presence: The other side of each direct conversation on this page.
        profiles: How the users are shown whom this page names: `participantIds`, and who wrote a `lastMessage`.
        hasMore: Whether there are older ones.
        nextBefore: The `before` of the next page; null on the last. Its form may change.
        unreadConversations: In how many of all your conversations there is something unread; without `before` only.
    """

    conversations: list[shapes.ConversationSummaryWire]
    presence: list[shapes.PresenceWire]
    profiles: list[shapes.ProfileWire]
    hasMore: bool
    nextBefore: str | None
    unreadConversations: NotRequired[int]


class JoinConversationAck(TypedDict):
    """The conversation as it is now, and what you missed.

    Attributes:
        conversation: The conversation.
        participants: The first of them in the order of ids, and you; `list_participants` has the others.
        messages: In `seq` order: the newest `limit`, or with `after` those created after that change.
        updates: Older messages that changed after `after`, as they are now, in the order of `change`.
        updatesThrough: Only if `updates` did not all fit: the change up to which it has them; `fetch_changes` goes on.
        change: The newest change at this moment: your next `after`; 0 while there is none.
        lastSeq: The newest seq at this moment; 0 while there is no message.
        readSeq: Your read mark: up to which seq you have read; 0 for nothing.
        unreadCount: `lastSeq` minus `readSeq`, without deleted messages; 0 or more.
        unreadMentions: How many of those mention you; 0 or more.
        settings: What you have settled for yourself.
        role: Yours: `owner`, `admin` or `member`; in a direct conversation always `member`.
        firstSeq: The first message that you may see; 1 for all.
        typing: The user ids of who types at this moment, without yourself.
        gap: What `messages` left out; only if you gave `after` and missed more than fits.
        profiles: How those are shown who wrote `messages` or `updates` and are not among `participants`; only if there
            are any.
    """

    conversation: shapes.ConversationWire
    participants: list[shapes.ParticipantWire]
    messages: list[shapes.MessageWire]
    updates: list[shapes.MessageWire]
    updatesThrough: NotRequired[int]
    change: int
    lastSeq: int
    readSeq: int
    unreadCount: int
    unreadMentions: int
    settings: shapes.OwnSettingsWire
    role: str
    firstSeq: int
    typing: list[str]
    gap: NotRequired[shapes.GapWire]
    profiles: NotRequired[list[shapes.ProfileWire]]


class AddParticipantsAck(TypedDict):
    """They take part.

    Attributes:
        conversation: As it is now.
        message: The message that says so; absent if all of them took part already.
        duplicate: Whether it was so before.
    """

    conversation: shapes.ConversationWire
    message: NotRequired[shapes.MessageWire]
    duplicate: bool


class RemoveParticipantAck(TypedDict):
    """Somebody does not take part any more.

    Attributes:
        message: The message that says so; absent if it was so already, and not by this request.
        duplicate: Whether it was so before.
    """

    message: NotRequired[shapes.MessageWire]
    duplicate: bool


class SetRoleAck(TypedDict):
    """Somebody has the role.

    Attributes:
        conversation: As it is now.
        message: The message that says so; absent if it was so already.
        duplicate: Whether it was so before.
    """

    conversation: shapes.ConversationWire
    message: NotRequired[shapes.MessageWire]
    duplicate: bool


class UpdateConversationAck(TypedDict):
    """The conversation is like that.

    Attributes:
        conversation: As it is now.
        message: The message that tells of a new title; absent if the title is the old one.
        duplicate: Whether it was so before.
    """

    conversation: shapes.ConversationWire
    message: NotRequired[shapes.MessageWire]
    duplicate: bool


class LeaveConversationAck(TypedDict):
    """The socket hears no more of the conversation."""


class SendMessageAck(TypedDict):
    """The message is stored.

    Attributes:
        message: As it is stored, with its `seq`.
        duplicate: Whether it had been stored before; `message` is the first one then, as it is now.
    """

    message: shapes.MessageWire
    duplicate: bool


class MessageChangeAck(TypedDict):
    """The message is edited or deleted, or has the reaction.

    Attributes:
        message: As it is now; a tombstone if it is deleted.
        duplicate: Whether it was so before.
    """

    message: shapes.MessageWire
    duplicate: bool


class FetchChangesAck(TypedDict):
    """A page of what was created and changed.

    Attributes:
        messages: As they are now, in the order of `change`.
        change: The `after` of the next page: up to here you know everything.
        hasMore: Whether there may be more. A page with more behind it can be short, or empty.
        profiles: How those are shown who wrote `messages`; only in conversations with more participants than a join
            tells.
    """

    messages: list[shapes.MessageWire]
    change: int
    hasMore: bool
    profiles: NotRequired[list[shapes.ProfileWire]]


class FetchMessagesAck(TypedDict):
    """Some messages.

    Attributes:
        messages: Those that exist, in `seq` order.
        hasMore: Whether not all of them fitted: ask for the others again.
        profiles: How those are shown who wrote `messages`; only in conversations with more participants than a join
            tells.
    """

    messages: list[shapes.MessageWire]
    hasMore: bool
    profiles: NotRequired[list[shapes.ProfileWire]]


class MarkReadAck(TypedDict):
    """Your read mark is there, or further.

    Attributes:
        readSeq: Your read mark now; 0 while there is no message.
        unreadCount: The newest seq minus `readSeq`, without deleted messages; 0 or more.
    """

    readSeq: int
    unreadCount: int


class UpdateSettingsAck(TypedDict):
    """It is settled.

    Attributes:
        settings: All that you have settled for yourself, as it is now.
    """

    settings: shapes.OwnSettingsWire


class FetchHistoryAck(TypedDict):
    """A page of messages.

    Attributes:
        messages: In `seq` order: the newest below `beforeSeq`, the oldest above `afterSeq`, or the newest of all.
        hasMore: Whether there are more in that direction.
        profiles: How those are shown who wrote `messages`; only in conversations with more participants than a join
            tells.
    """

    messages: list[shapes.MessageWire]
    hasMore: bool
    profiles: NotRequired[list[shapes.ProfileWire]]


class ListParticipantsAck(TypedDict):
    """A page of participants.

    Attributes:
        participants: At most `limit`, those after `after` in the order of ids.
        hasMore: Whether there are more.
        nextAfter: The `after` of the next page; null on the last.
    """

    participants: list[shapes.ParticipantWire]
    hasMore: bool
    nextAfter: str | None


class SetTypingAck(TypedDict):
    """It is noted."""


class SetVisibilityAck(TypedDict):
    """It is noted."""
