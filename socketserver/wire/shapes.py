"""What there is, as it goes out: the objects that acks and server events are made of. docs/protocol.md in TypedDicts.

Every key is explained under `Attributes`, whose text reaches the TypeScript declarations as comments. Times are UTC
milliseconds; texts are Unicode; `seq` and `change` count from 1. dumping.py makes the objects from domain values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict


class UserWire(TypedDict):
    """Who somebody is.

    Attributes:
        id: The token's `sub`, in Unicode's normalization form C; 1 to 128 characters.
        name: For display: the token's `name`, else the id.
        avatar: The address of a picture: the token's `picture`; absent if it has none.
    """

    id: str
    name: str
    avatar: NotRequired[str]


class ProfileWire(TypedDict):
    """How somebody is shown.

    Attributes:
        userId: Whose profile it is.
        name: For display; absent while none is known: show the id.
        avatar: The address of a picture; absent while none is known.
        known: False: nobody has logged in with this id so far; absent for all others.
    """

    userId: str
    name: NotRequired[str]
    avatar: NotRequired[str]
    known: NotRequired[bool]


class ConversationWire(TypedDict):
    """A conversation as it is now.

    Attributes:
        id: For comparing, nothing more; 1 to 64 characters.
        kind: `direct` for two people without a title, who have only one for ever; else `group`.
        title: 1 to 200 characters; null for none.
        participantIds: The first of the participants, in the order of ids; both of a direct conversation.
        participantCount: How many take part, you included.
        createdBy: The user id of who created it.
        createdAt: When it was created, UTC milliseconds.
        metadata: An object that the server keeps and hands on; null for none.
    """

    id: str
    kind: str
    title: str | None
    participantIds: list[str]
    participantCount: int
    createdBy: str
    createdAt: int
    metadata: dict[str, Any] | None


class SystemWire(TypedDict):
    """What happened to a conversation, in a message that the server wrote.

    Attributes:
        type: `added`, `removed`, `left`, `role` or `title`.
        userIds: Whom it happened to; absent for a title.
        role: The role that they have got, where it is what happened, or more than `member`.
        title: The new title; absent where it was taken away.
    """

    type: str
    userIds: NotRequired[list[str]]
    role: NotRequired[str]
    title: NotRequired[str]


class ReactionWire(TypedDict):
    """A reaction to a message.

    Attributes:
        reaction: What it is, mostly an emoji; 1 to 32 characters without white space.
        count: How many users have reacted so.
        userIds: The first 20 of them, oldest first.
    """

    reaction: str
    count: int
    userIds: list[str]


class MessageWire(TypedDict):
    """One stored message, as it is now. A key of the second half is absent while there is nothing to say.

    Attributes:
        id: For comparing, nothing more.
        conversationId: The conversation's id.
        seq: Position in the conversation: 1, 2, 3, … without a hole, the same for everybody.
        change: Number of the newest change that touched it, dense from 1 too: the cursor to resume from.
        senderId: The sender's user id.
        idempotencyKey: The sender's own name for it: how the sender finds the bubble that was waiting.
        body: The text, as it was sent, or edited; empty once it is deleted.
        metadata: The sender's object, as it was sent, or edited; null for none.
        createdAt: When the server got it, UTC milliseconds. Sort by `seq`, not by this.
        replyTo: The `seq` of the message that it answers.
        mentions: The user ids of participants whom it names.
        reactions: The reactions to it, oldest first.
        editedAt: When its text was edited last, UTC milliseconds.
        deletedAt: When it was deleted, UTC milliseconds: then this is its tombstone.
        deletedBy: The user id of who deleted it.
        kind: `system` where the conversation tells of itself: `senderId` did it, and `body` says it in English.
        system: What happened; only with that kind.
    """

    id: str
    conversationId: str
    seq: int
    change: int
    senderId: str
    idempotencyKey: str
    body: str
    metadata: dict[str, Any] | None
    createdAt: int
    replyTo: NotRequired[int]
    mentions: NotRequired[list[str]]
    reactions: NotRequired[list[ReactionWire]]
    editedAt: NotRequired[int]
    deletedAt: NotRequired[int]
    deletedBy: NotRequired[str]
    kind: NotRequired[str]
    system: NotRequired[SystemWire]


class OwnSettingsWire(TypedDict):
    """What you have settled for yourself in a conversation; nobody else sees it. All false until you do.

    Attributes:
        muted: Do not notify of it.
        pinned: Show it at the top.
        archived: Show it elsewhere. A new message does not bring it back.
        markedUnread: Show it as unread, whatever `unreadCount` says. Reading ends it, sending too.
    """

    muted: bool
    pinned: bool
    archived: bool
    markedUnread: bool


class ConversationSummaryWire(ConversationWire):
    """A conversation as a user's list shows it.

    Attributes:
        lastMessage: The newest message that is not deleted; null while there is none.
        lastSeq: The newest message's seq; 0 while there is none.
        change: The newest change; a place to resume from only for a client that has everything before it.
        readSeq: Your read mark: up to which seq you have read; 0 for nothing.
        unreadCount: `lastSeq` minus `readSeq`, without deleted messages; 0 or more.
        unreadMentions: How many of those mention you; 0 or more.
        settings: What you have settled for yourself.
        activityAt: When the last message came, or the conversation was created, UTC milliseconds; the list's order.
            It never goes back.
    """

    lastMessage: MessageWire | None
    lastSeq: int
    change: int
    readSeq: int
    unreadCount: int
    unreadMentions: int
    settings: OwnSettingsWire
    activityAt: int


class ParticipantWire(TypedDict):
    """Somebody who takes part in a conversation.

    Attributes:
        userId: The participant's user id.
        role: `owner`, `admin` or `member`; in a direct conversation always `member`.
        readSeq: Up to which seq this user has read; 0 for nothing.
        readAt: When, UTC milliseconds; null if never.
        online: Whether the user has a connection; false too for one who has not taken part so far.
        lastSeenAt: When a user who is offline was last seen, UTC milliseconds; null if online, not seen since the
            server started, or without a part so far.
        name: For display; absent while none is known: show the id.
        avatar: The address of a picture; absent while none is known.
        known: False: nobody has logged in with this id so far; absent for all others.
    """

    userId: str
    role: str
    readSeq: int
    readAt: int | None
    online: bool
    lastSeenAt: int | None
    name: NotRequired[str]
    avatar: NotRequired[str]
    known: NotRequired[bool]


class GapWire(TypedDict):
    """What a join left out, both ends included; `fetch_history` has it.

    Attributes:
        fromSeq: The first message that is missing.
        toSeq: The last message that is missing.
    """

    fromSeq: int
    toSeq: int


class ErrorWire(TypedDict):
    """Why a request was refused.

    Attributes:
        code: Stable, so compare it.
        message: One sentence for developers; not stable.
        retryable: Whether the same request can succeed later without a change.
        retryAfterMs: How long to wait before that, in milliseconds; absent where it is not known.
        limitBytes: With `too_large`: how many bytes it may have.
        present: With `version_conflict`: the message as it is.
        fields: With `invalid_payload`: lists of sentences by field, nested like the payload; `payload` for the whole.
        help: In the body of a refused handshake: what to look at.
    """

    code: str
    message: str
    retryable: bool
    retryAfterMs: NotRequired[int]
    limitBytes: NotRequired[int]
    present: NotRequired[MessageWire]
    fields: NotRequired[Mapping[str, object]]
    help: NotRequired[str]


class FailureWire(TypedDict):
    """The ack of a request that did not work; nothing was stored or changed, unless its outcome is unknown.

    Attributes:
        ok: Always false.
        error: Why.
    """

    ok: bool
    error: ErrorWire


class PresenceWire(TypedDict):
    """Whether somebody is there.

    Attributes:
        userId: Whose presence it is.
        online: Whether the user has a connection.
        lastSeenAt: When a user who is offline was last seen, UTC milliseconds; null as with a participant.
    """

    userId: str
    online: bool
    lastSeenAt: int | None
