"""What server events carry, an object for each row of announcements.py. Every key is explained, as in shapes.py."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from . import shapes


class ReconnectionWire(TypedDict):
    """The client options that the server recommends.

    Attributes:
        attempts: For `reconnectionAttempts`.
        delayMs: For `reconnectionDelay`, in milliseconds.
        delayMaxMs: For `reconnectionDelayMax`, in milliseconds.
    """

    attempts: int
    delayMs: int
    delayMaxMs: int


class LimitsWire(TypedDict):
    """What the server accepts; 0 means no limit, except in the windows.

    Attributes:
        bodyChars: Characters (Unicode code points) of a message's body.
        metadataBytes: Bytes of a message's metadata as JSON.
        eventBytes: Bytes of one event as it is sent.
        participants: Participants of a conversation, yourself included.
        page: The largest `limit` of a page.
        joinedConversations: Conversations that one socket may have joined.
        messagesPerSecond: Messages per second that a user may send in the long run.
        messagesBurst: Messages that a user may send at once.
        editWindowS: For how long its sender may edit a message, in seconds since its `createdAt` by the server's clock;
            -1 for ever, 0 never.
        deleteWindowS: For how long its sender may delete a message, as `editWindowS`.
        mentions: Users whom a message may mention.
        reactions: Different reactions to one message.
        reactionsPerUser: Reactions of one user to one message.
        reactionsInAll: Reactions of all users to one message, together.
        reactionChars: Characters (Unicode code points) of a reaction.
    """

    bodyChars: int
    metadataBytes: int
    eventBytes: int
    participants: int
    page: int
    joinedConversations: int
    messagesPerSecond: float
    messagesBurst: int
    editWindowS: int
    deleteWindowS: int
    mentions: int
    reactions: int
    reactionsPerUser: int
    reactionsInAll: int
    reactionChars: int


class WelcomeWire(TypedDict):
    """What a socket is told when it has got its user.

    Attributes:
        user: Who you are.
        connectionId: This connection; it appears in the server's log.
        serverTime: The server's clock, UTC milliseconds.
        reconnection: The recommended client options.
        limits: What the server accepts.
    """

    user: shapes.UserWire
    connectionId: str
    serverTime: int
    reconnection: ReconnectionWire
    limits: LimitsWire


class MessageCreatedWire(TypedDict):
    """A message was stored.

    Attributes:
        message: The message; drop a `seq` that you know.
        sender: How the sender is shown; only in conversations with more participants than a join tells.
    """

    message: shapes.MessageWire
    sender: NotRequired[shapes.ProfileWire]


class MessageUpdatedWire(TypedDict):
    """A message was edited or deleted, or somebody reacted to it.

    Attributes:
        message: The message as it is now; drop it if you have it with this `change`, or a greater one.
    """

    message: shapes.MessageWire


class ActivityWire(TypedDict):
    """A message was stored in a conversation that the socket has not joined.

    Attributes:
        conversationId: The conversation's id.
        seq: The message's; with your read mark it gives the unread count.
        senderId: The sender's user id: yourself, if you sent it from another socket.
        preview: The first 120 characters of the body.
        createdAt: The message's time, UTC milliseconds.
        mentions: The user ids of participants whom it names; absent if it names nobody.
        sender: How the sender is shown; only in conversations with more participants than `participantIds` has.
    """

    conversationId: str
    seq: int
    senderId: str
    preview: str
    createdAt: int
    mentions: NotRequired[list[str]]
    sender: NotRequired[shapes.ProfileWire]


class ConversationCreatedWire(TypedDict):
    """A conversation was created.

    Attributes:
        conversation: The conversation.
        profiles: How the users under its `participantIds` are shown.
    """

    conversation: shapes.ConversationWire
    profiles: list[shapes.ProfileWire]


class MentionsChangedWire(TypedDict):
    """Whom a message mentions since it was edited, or deleted; not both are empty.

    Attributes:
        seq: The message's. It concerns an unread count only above your read mark.
        added: The user ids of whom it mentions now and did not before.
        removed: The user ids of whom it mentions no longer.
    """

    seq: int
    added: list[str]
    removed: list[str]


class ConversationUpdatedWire(TypedDict):
    """What lists show of a conversation has changed, other than by a new message.

    Attributes:
        conversation: The conversation.
        change: The number of the change of a message by which it is so. A list whose summary has this `change` or a
            greater one has counted it already; absent where people, title or metadata have changed.
        lastMessage: The message to show, as it is now, if it is another one or has another text; null if none is left.
        uncountedSeq: The `seq` of a message that counts no more: if you have read less than that, you have one unread
            less. Told once.
        mentions: Whom a message mentions anew, and whom no longer. Told once.
        activityAt: The conversation's new place in lists, UTC milliseconds, if people or title have changed.
        sender: How the sender of `lastMessage` is shown; only in conversations with more participants than
            `participantIds` has.
    """

    conversation: shapes.ConversationWire
    change: NotRequired[int]
    lastMessage: NotRequired[shapes.MessageWire | None]
    uncountedSeq: NotRequired[int]
    mentions: NotRequired[MentionsChangedWire]
    activityAt: NotRequired[int]
    sender: NotRequired[shapes.ProfileWire]


class ParticipantRoleWire(TypedDict):
    """Who has which role.

    Attributes:
        userId: Who it is.
        role: `owner`, `admin` or `member`.
    """

    userId: str
    role: str


class ParticipantsChangedWire(TypedDict):
    """People have come or gone, or have another role.

    Attributes:
        conversationId: The conversation's id.
        change: The number of the message that says so, which comes right before.
        added: Who takes part from now on.
        removed: The user ids of those who do not any more.
        roles: Who has another role.
        profiles: How those under `added` are shown.
    """

    conversationId: str
    change: int
    added: list[ParticipantRoleWire]
    removed: list[str]
    roles: list[ParticipantRoleWire]
    profiles: list[shapes.ProfileWire]


class ConversationRemovedWire(TypedDict):
    """A conversation is not yours any more.

    Attributes:
        conversationId: The conversation's id.
        reason: `removed` by somebody, `left` by yourself, or `deleted`.
    """

    conversationId: str
    reason: str


class MessagesReadWire(TypedDict):
    """A read mark moved.

    Attributes:
        conversationId: The conversation's id.
        userId: Who has read.
        readSeq: Up to which seq.
        readAt: When, UTC milliseconds; null if it is not known.
    """

    conversationId: str
    userId: str
    readSeq: int
    readAt: int | None


class SettingsChangedWire(TypedDict):
    """What you have settled for yourself, on any of your sockets.

    Attributes:
        conversationId: The conversation's id.
        settings: All of it, as it is now.
    """

    conversationId: str
    settings: shapes.OwnSettingsWire


class UserTypingWire(TypedDict):
    """Somebody types, or has stopped.

    Attributes:
        conversationId: The conversation's id.
        userId: Who types.
        typing: Whether the user types.
    """

    conversationId: str
    userId: str
    typing: bool


class SessionEndedWire(TypedDict):
    """Why the server is about to end the connection.

    Attributes:
        code: Stable, so compare it.
        message: One sentence for developers; not stable.
        reconnect: True: the connection is cut and the client reconnects by itself. False: stay away until the user
            asks.
        retryAfterMs: When to come back, in milliseconds from now; absent where it does not matter.
        limitBytes: With `too_large`: how many bytes it may have.
    """

    code: str
    message: str
    reconnect: bool
    retryAfterMs: NotRequired[int]
    limitBytes: NotRequired[int]
