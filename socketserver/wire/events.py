"""The table of events: one declaration each, with the shape of its ack. What is not here does not exist on the wire.

The names, the validation of payloads (loading.py), the dispatch (handlers/), the TypeScript declarations and the tests
of docs/protocol.md follow from it. So a new event is a row here, and the use case that it names.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final, Self

from marshmallow import fields, validate

from ..chat.conversations import CreateConversation, JoinConversation, ListConversations, ListParticipants
from ..chat.messages import (
    DeleteMessage,
    EditMessage,
    FetchChanges,
    FetchHistory,
    FetchMessages,
    SendMessage,
    SetReaction,
)
from ..chat.personal import UpdateSettings
from ..chat.reading import MarkRead
from ..errors import (
    AuthUnavailable,
    ConversationNotFound,
    Forbidden,
    IdempotencyConflict,
    InvalidToken,
    LimitExceeded,
    MessageDeleted,
    MessageNotFound,
    NotJoined,
    Overloaded,
    RateLimited,
    StoreUnavailable,
    TokenExpired,
    TooLate,
    UserMismatch,
    VersionConflict,
)
from ..settings import Settings
from ..values import MAX_USER_ID_CHARS
from . import acks, shapes
from .commands import Authenticate, LeaveConversation, SetTyping, SetVisibility
from .dumping import dump_conversation, dump_settings
from .fields import (
    MAX_ID_CHARS,
    MAX_REACTION_CHARS,
    Bool,
    Cursor,
    Int,
    ListOfSeqs,
    ListOfUserIds,
    Metadata,
    Shown,
    Text,
)
from .pages import fit_profiles
from .rows import Announcement, Request

DEFAULT_PAGE: Final = 50
MAX_KEY_CHARS: Final = 128
MAX_TITLE_CHARS: Final = 200
MAX_TOKEN_CHARS: Final = 8_192
MAX_SEQS: Final = 50


def _conversation_id() -> Text:
    return Text(most=MAX_ID_CHARS, required=True, data_key="conversationId")


def _idempotency_key(**options: Any) -> Text:
    return Text(most=MAX_KEY_CHARS, pattern=r"\A[\x21-\x7e]+\Z", data_key="idempotencyKey", **options)


def _page(limits: Settings) -> Int:
    return Int(least=1, most=limits.max_page, load_default=min(DEFAULT_PAGE, limits.max_page))


def _user_ids(limits: Settings) -> fields.Field[Any]:
    most = limits.max_participants
    return ListOfUserIds(most=most, required=True, data_key="participantIds", validate=validate.Length(1))


def _seq() -> Int:
    return Int(least=1, required=True)


def _mentions(limits: Settings) -> fields.Field[Any]:
    return ListOfUserIds(most=limits.max_mentions)


def _metadata(limits: Settings) -> Metadata:
    return Metadata(most_bytes=limits.max_metadata_bytes, allow_none=True)


class ClientEvent(StrEnum):
    """Events that a client may send; every one is acked. `row` is what is declared of each."""

    row: Request

    def __new__(cls, row: Request) -> Self:
        """A member is its name."""
        member = str.__new__(cls, row.name)
        member._value_ = row.name
        member.row = row
        return member

    AUTHENTICATE = Request(
        name="authenticate",
        doc="Give the socket its user, if the handshake did not.",
        command=Authenticate,
        fields=lambda limits: {"token": Text(most=MAX_TOKEN_CHARS, required=True)},
        ack=acks.AuthenticateAck,
        errors=(InvalidToken, TokenExpired, UserMismatch, AuthUnavailable),
    )
    CREATE_CONVERSATION = Request(
        name="create_conversation",
        doc="Create a conversation between yourself and others, or find the one that this request repeats.",
        command=CreateConversation,
        fields=lambda limits: {
            "participant_ids": _user_ids(limits),
            "title": Shown(most=MAX_TITLE_CHARS, allow_none=True),
            "idempotency_key": _idempotency_key(),
        },
        ack=acks.CreateConversationAck,
        errors=(RateLimited, IdempotencyConflict, StoreUnavailable, Overloaded),
        use_case=lambda chat: chat.conversations.create,
        dump=lambda created, limits: {
            "conversation": dump_conversation(created.conversation, listed=limits.listed_participants),
            "duplicate": created.duplicate,
            "profiles": fit_profiles(created.people, limits.outbox_bytes).items,
        },
    )
    LIST_CONVERSATIONS = Request(
        name="list_conversations",
        doc="Get your conversations, the one with the most recent activity first.",
        command=ListConversations,
        fields=lambda limits: {"limit": _page(limits), "before": Cursor()},
        ack=acks.ListConversationsAck,
        errors=(StoreUnavailable,),
        use_case=lambda chat: chat.conversations.page,
    )
    JOIN_CONVERSATION = Request(
        name="join_conversation",
        doc="Open a conversation on this socket: get what you missed, and from now on its events.",
        command=JoinConversation,
        fields=lambda limits: {
            "conversation_id": _conversation_id(),
            "after": Int(),
            "limit": _page(limits),
            "visible": Bool(),
        },
        ack=acks.JoinConversationAck,
        errors=(ConversationNotFound, LimitExceeded, StoreUnavailable, Overloaded),
        use_case=lambda chat: chat.conversations.snapshot,
    )
    LEAVE_CONVERSATION = Request(
        name="leave_conversation",
        doc="Get no more of the conversation's events on this socket.",
        command=LeaveConversation,
        fields=lambda limits: {"conversation_id": _conversation_id()},
        ack=acks.LeaveConversationAck,
        errors=(ConversationNotFound, StoreUnavailable),
    )
    SEND_MESSAGE = Request(
        name="send_message",
        doc="Store a message, and tell everybody in the conversation.",
        command=SendMessage,
        fields=lambda limits: {
            "conversation_id": _conversation_id(),
            "idempotency_key": _idempotency_key(required=True),
            "body": Shown(most=limits.max_body_chars, required=True),
            "metadata": _metadata(limits),
            "reply_to": Int(least=1, data_key="replyTo"),
            "mentions": _mentions(limits),
        },
        ack=acks.SendMessageAck,
        errors=(
            ConversationNotFound,
            RateLimited,
            MessageNotFound,
            IdempotencyConflict,
            StoreUnavailable,
            Overloaded,
        ),
        use_case=lambda chat: chat.messages.send,
    )
    EDIT_MESSAGE = Request(
        name="edit_message",
        doc="Give a message that you sent new content, for some time after you sent it.",
        command=EditMessage,
        fields=lambda limits: {
            "conversation_id": _conversation_id(),
            "seq": _seq(),
            "idempotency_key": _idempotency_key(required=True),
            "body": Shown(most=limits.max_body_chars, required=True),
            "metadata": _metadata(limits),
            "mentions": _mentions(limits),
            "if_change": Int(least=1, data_key="ifChange"),
        },
        ack=acks.EditMessageAck,
        errors=(
            ConversationNotFound,
            RateLimited,
            MessageNotFound,
            MessageDeleted,
            Forbidden,
            TooLate,
            VersionConflict,
            IdempotencyConflict,
            StoreUnavailable,
            Overloaded,
        ),
        use_case=lambda chat: chat.messages.edit,
    )
    DELETE_MESSAGE = Request(
        name="delete_message",
        doc="Delete a message that you sent, for everybody.",
        command=DeleteMessage,
        fields=lambda limits: {"conversation_id": _conversation_id(), "seq": _seq()},
        ack=acks.DeleteMessageAck,
        errors=(ConversationNotFound, RateLimited, MessageNotFound, Forbidden, TooLate, StoreUnavailable, Overloaded),
        use_case=lambda chat: chat.messages.delete,
    )
    SET_REACTION = Request(
        name="set_reaction",
        doc="React to a message, or take a reaction back.",
        command=SetReaction,
        fields=lambda limits: {
            "conversation_id": _conversation_id(),
            "seq": _seq(),
            "reaction": Text(most=MAX_REACTION_CHARS, pattern=r"\A\S+\Z", required=True),
            "on": Bool(required=True),
        },
        ack=acks.SetReactionAck,
        errors=(
            ConversationNotFound,
            RateLimited,
            MessageNotFound,
            MessageDeleted,
            LimitExceeded,
            StoreUnavailable,
            Overloaded,
        ),
        use_case=lambda chat: chat.messages.react,
    )
    MARK_READ = Request(
        name="mark_read",
        doc="Move your read mark forward; it never moves back.",
        command=MarkRead,
        fields=lambda limits: {"conversation_id": _conversation_id(), "seq": Int(required=True)},
        ack=acks.MarkReadAck,
        errors=(ConversationNotFound, StoreUnavailable, Overloaded),
        use_case=lambda chat: chat.reading.mark,
    )
    UPDATE_SETTINGS = Request(
        name="update_settings",
        doc="Settle something for yourself in a conversation: mute, pin, archive it, or mark it as unread.",
        command=UpdateSettings,
        fields=lambda limits: {
            "conversation_id": _conversation_id(),
            "muted": Bool(),
            "pinned": Bool(),
            "archived": Bool(),
            "marked_unread": Bool(data_key="markedUnread"),
        },
        ack=acks.UpdateSettingsAck,
        errors=(ConversationNotFound, StoreUnavailable, Overloaded),
        use_case=lambda chat: chat.personal.settle,
        dump=lambda settings, limits: {"settings": dump_settings(settings)},
    )
    FETCH_HISTORY = Request(
        name="fetch_history",
        doc="Read older messages, or fill a gap.",
        command=FetchHistory,
        fields=lambda limits: {
            "conversation_id": _conversation_id(),
            "before_seq": Int(least=1, data_key="beforeSeq"),
            "after_seq": Int(data_key="afterSeq"),
            "limit": _page(limits),
        },
        exclusive=("before_seq", "after_seq"),
        ack=acks.FetchHistoryAck,
        errors=(ConversationNotFound, StoreUnavailable),
        use_case=lambda chat: chat.messages.history,
    )
    FETCH_CHANGES = Request(
        name="fetch_changes",
        doc="Read what was created and changed after a change, page by page.",
        command=FetchChanges,
        fields=lambda limits: {
            "conversation_id": _conversation_id(),
            "after": Int(required=True),
            "limit": _page(limits),
        },
        ack=acks.FetchChangesAck,
        errors=(ConversationNotFound, StoreUnavailable),
        use_case=lambda chat: chat.messages.changes,
    )
    FETCH_MESSAGES = Request(
        name="fetch_messages",
        doc="Get some messages by their places, for a quote of one that is not on a page.",
        command=FetchMessages,
        fields=lambda limits: {
            "conversation_id": _conversation_id(),
            "seqs": ListOfSeqs(most=MAX_SEQS, required=True),
        },
        ack=acks.FetchMessagesAck,
        errors=(ConversationNotFound, StoreUnavailable),
        use_case=lambda chat: chat.messages.some,
    )
    LIST_PARTICIPANTS = Request(
        name="list_participants",
        doc="Get who takes part, page by page in the order of ids.",
        command=ListParticipants,
        fields=lambda limits: {
            "conversation_id": _conversation_id(),
            "after": Text(most=MAX_USER_ID_CHARS),
            "limit": _page(limits),
        },
        ack=acks.ListParticipantsAck,
        errors=(ConversationNotFound, StoreUnavailable),
        use_case=lambda chat: chat.conversations.participants,
    )
    SET_TYPING = Request(
        name="set_typing",
        doc="Say that the user types, or has stopped; repeat true every three seconds while it lasts.",
        command=SetTyping,
        fields=lambda limits: {"conversation_id": _conversation_id(), "typing": Bool(required=True)},
        ack=acks.SetTypingAck,
        errors=(ConversationNotFound, NotJoined, StoreUnavailable),
    )
    SET_VISIBILITY = Request(
        name="set_visibility",
        doc="Say whether the user is looking at the conversation on this socket; true marks everything as read.",
        command=SetVisibility,
        fields=lambda limits: {"conversation_id": _conversation_id(), "visible": Bool(required=True)},
        ack=acks.SetVisibilityAck,
        errors=(ConversationNotFound, NotJoined, StoreUnavailable, Overloaded),
    )


class ServerEvent(StrEnum):
    """Events that the server sends. `row` is what is declared of each."""

    row: Announcement

    def __new__(cls, row: Announcement) -> Self:
        """A member is its name."""
        member = str.__new__(cls, row.name)
        member._value_ = row.name
        member.row = row
        return member

    WELCOME = Announcement(
        name="welcome",
        doc="Who you are and what the server accepts: to a socket, right after it got its user.",
        payload=shapes.WelcomeWire,
        snapshot=None,  # it comes with every connection
    )
    MESSAGE_CREATED = Announcement(
        name="message_created",
        doc="A message was stored: to every socket that joined the conversation, the sender's too. It can come twice.",
        payload=shapes.MessageCreatedWire,
        snapshot={
            "join_conversation": "messages",
            "list_conversations": "conversations",
            "fetch_history": "messages",
        },
    )
    MESSAGE_UPDATED = Announcement(
        name="message_updated",
        doc="A message was edited, deleted or reacted to: to every socket that joined. It can come twice.",
        payload=shapes.MessageUpdatedWire,
        snapshot={"join_conversation": "updates", "fetch_changes": "messages", "fetch_history": "messages"},
    )
    CONVERSATION_ACTIVITY = Announcement(
        name="conversation_activity",
        doc="A message was stored in a conversation that this socket has not joined. It can come twice.",
        payload=shapes.ActivityWire,
        snapshot={"list_conversations": "conversations"},
    )
    CONVERSATION_CREATED = Announcement(
        name="conversation_created",
        doc="Somebody created a conversation in which you take part.",
        payload=shapes.ConversationCreatedWire,
        snapshot={"list_conversations": "conversations"},
    )
    CONVERSATION_UPDATED = Announcement(
        name="conversation_updated",
        doc="What your list shows of a conversation has changed, other than by a new message.",
        payload=shapes.ConversationUpdatedWire,
        snapshot={"list_conversations": "conversations"},
    )
    MESSAGES_READ = Announcement(
        name="messages_read",
        doc="Somebody's read mark moved. There is none for the reading that sending implies.",
        payload=shapes.MessagesReadWire,
        snapshot={"join_conversation": "participants", "list_conversations": "conversations"},
    )
    SETTINGS_CHANGED = Announcement(
        name="settings_changed",
        doc="You have settled something for yourself in a conversation, or read what you had marked as unread.",
        payload=shapes.SettingsChangedWire,
        snapshot={"join_conversation": "settings", "list_conversations": "conversations"},
    )
    USER_TYPING = Announcement(
        name="user_typing",
        doc="Somebody began, goes on, or stopped typing in a small conversation that this socket joined.",
        payload=shapes.UserTypingWire,
        snapshot={"join_conversation": "typing"},
    )
    PRESENCE_CHANGED = Announcement(
        name="presence_changed",
        doc="Somebody whom this socket watches came online or went offline.",
        payload=shapes.PresenceWire,
        snapshot={"join_conversation": "participants", "list_conversations": "presence"},
    )
    PROFILE_CHANGED = Announcement(
        name="profile_changed",
        doc="Somebody whom this socket watches, or you yourself, is shown in another way from now on.",
        payload=shapes.ProfileWire,
        snapshot={"join_conversation": "participants", "list_conversations": "profiles"},
    )
    SESSION_ENDED = Announcement(
        name="session_ended",
        doc="The server is about to end this connection, and says why.",
        payload=shapes.SessionEndedWire,
        snapshot=None,  # there is no connection any more that could ask
    )
