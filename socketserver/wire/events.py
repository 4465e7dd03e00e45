"""The table of events: one declaration each, with the shape of its ack. What is not here does not exist on the wire.

The names, the validation of payloads (loading.py), the dispatch (handlers/), the TypeScript declarations and the tests
of docs/protocol.md follow from it. So a new event is a row here, and the use case that it names.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Self

from ..chat.conversations import CreateConversation, JoinConversation, ListConversations, ListParticipants
from ..chat.history import FetchChanges, FetchHistory, FetchMessages
from ..chat.members import (
    AddParticipants,
    RemoveParticipant,
    SetParticipantRole,
    UpdateConversation,
)
from ..chat.messages import DeleteMessage, EditMessage, SendMessage, SetReaction
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
from ..values import MAX_USER_ID_CHARS
from . import acks, arguments
from .commands import Authenticate, LeaveConversation, SetTyping, SetVisibility
from .dumping import dump_conversation, dump_settings
from .fields import MAX_REACTION_CHARS, Bool, Choice, Cursor, Int, ListOfSeqs, Shown, Text
from .pages import fit_profiles
from .rows import Request

# What changes of a conversation itself can be refused with.
_MEMBERSHIP: Final = (
    ConversationNotFound,
    RateLimited,
    Forbidden,
    IdempotencyConflict,
    StoreUnavailable,
    Overloaded,
)


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
        fields=lambda limits: {"token": Text(most=arguments.MAX_TOKEN_CHARS, required=True)},
        ack=acks.AuthenticateAck,
        errors=(InvalidToken, TokenExpired, UserMismatch, AuthUnavailable),
    )
    CREATE_CONVERSATION = Request(
        name="create_conversation",
        doc="Create a conversation between yourself and others, or find the one that this request repeats.",
        command=CreateConversation,
        fields=lambda limits: {
            "participant_ids": arguments.user_ids(limits.max_participants, "participantIds"),
            "title": arguments.title(),
            "idempotency_key": arguments.idempotency_key(),
        },
        ack=acks.CreateConversationAck,
        errors=(RateLimited, IdempotencyConflict, ConversationNotFound, StoreUnavailable, Overloaded),
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
        fields=lambda limits: {"limit": arguments.page(limits), "before": Cursor()},
        ack=acks.ListConversationsAck,
        errors=(StoreUnavailable,),
        use_case=lambda chat: chat.conversations.page,
    )
    JOIN_CONVERSATION = Request(
        name="join_conversation",
        doc="Open a conversation on this socket: get what you missed, and from now on its events.",
        command=JoinConversation,
        fields=lambda limits: {
            "conversation_id": arguments.conversation_id(),
            "after": Int(),
            "limit": arguments.page(limits),
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
        fields=lambda limits: {"conversation_id": arguments.conversation_id()},
        ack=acks.LeaveConversationAck,
        errors=(ConversationNotFound, StoreUnavailable),
    )
    ADD_PARTICIPANTS = Request(
        name="add_participants",
        doc="Add people to a group.",
        command=AddParticipants,
        fields=lambda limits: {
            "conversation_id": arguments.conversation_id(),
            "user_ids": arguments.user_ids(limits.max_added, "userIds"),
            "role": arguments.role(load_default="member"),
            "history": Choice("all", "none", required=True),
            "idempotency_key": arguments.idempotency_key(required=True),
        },
        ack=acks.AddParticipantsAck,
        errors=(*_MEMBERSHIP, LimitExceeded),
        use_case=lambda chat: chat.members.add,
    )
    REMOVE_PARTICIPANT = Request(
        name="remove_participant",
        doc="Remove somebody from a group, or leave it for good yourself.",
        command=RemoveParticipant,
        fields=lambda limits: {
            "conversation_id": arguments.conversation_id(),
            "user_id": arguments.user_id(),
            "idempotency_key": arguments.idempotency_key(),
        },
        ack=acks.RemoveParticipantAck,
        errors=_MEMBERSHIP,
        use_case=lambda chat: chat.members.remove,
    )
    SET_ROLE = Request(
        name="set_role",
        doc="Give a participant of a group a role.",
        command=SetParticipantRole,
        fields=lambda limits: {
            "conversation_id": arguments.conversation_id(),
            "user_id": arguments.user_id(),
            "role": arguments.role(required=True),
        },
        ack=acks.SetRoleAck,
        errors=_MEMBERSHIP,
        use_case=lambda chat: chat.members.set_role,
    )
    UPDATE_CONVERSATION = Request(
        name="update_conversation",
        doc="Change a group's title, or a conversation's metadata.",
        command=UpdateConversation,
        fields=lambda limits: {
            "conversation_id": arguments.conversation_id(),
            "title": arguments.title(),
            "metadata": arguments.metadata(limits),
            "idempotency_key": arguments.idempotency_key(),
        },
        ack=acks.UpdateConversationAck,
        errors=_MEMBERSHIP,
        use_case=lambda chat: chat.members.update,
    )
    SEND_MESSAGE = Request(
        name="send_message",
        doc="Store a message, and tell everybody in the conversation.",
        command=SendMessage,
        fields=lambda limits: {
            "conversation_id": arguments.conversation_id(),
            "idempotency_key": arguments.idempotency_key(required=True),
            "body": Shown(most=limits.max_body_chars, required=True),
            "metadata": arguments.metadata(limits),
            "reply_to": Int(least=1, data_key="replyTo"),
            "mentions": arguments.mentions(limits),
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
            "conversation_id": arguments.conversation_id(),
            "seq": arguments.seq(),
            "idempotency_key": arguments.idempotency_key(required=True),
            "body": Shown(most=limits.max_body_chars, required=True),
            "metadata": arguments.metadata(limits),
            "mentions": arguments.mentions(limits),
            "if_change": Int(least=1, data_key="ifChange"),
        },
        ack=acks.MessageChangeAck,
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
        doc="Delete a message that you sent, for everybody; owners and admins of a group delete others' too.",
        command=DeleteMessage,
        fields=lambda limits: {"conversation_id": arguments.conversation_id(), "seq": arguments.seq()},
        ack=acks.MessageChangeAck,
        errors=(ConversationNotFound, RateLimited, MessageNotFound, Forbidden, TooLate, StoreUnavailable, Overloaded),
        use_case=lambda chat: chat.messages.delete,
    )
    SET_REACTION = Request(
        name="set_reaction",
        doc="React to a message, or take a reaction back.",
        command=SetReaction,
        fields=lambda limits: {
            "conversation_id": arguments.conversation_id(),
            "seq": arguments.seq(),
            "reaction": Text(most=MAX_REACTION_CHARS, pattern=r"\A\S+\Z", required=True),
            "on": Bool(required=True),
        },
        ack=acks.MessageChangeAck,
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
        fields=lambda limits: {"conversation_id": arguments.conversation_id(), "seq": Int(required=True)},
        ack=acks.MarkReadAck,
        errors=(ConversationNotFound, StoreUnavailable, Overloaded),
        use_case=lambda chat: chat.reading.mark,
    )
    UPDATE_SETTINGS = Request(
        name="update_settings",
        doc="Settle something for yourself in a conversation: mute, pin, archive it, or mark it as unread.",
        command=UpdateSettings,
        fields=lambda limits: {
            "conversation_id": arguments.conversation_id(),
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
            "conversation_id": arguments.conversation_id(),
            "before_seq": Int(least=1, data_key="beforeSeq"),
            "after_seq": Int(data_key="afterSeq"),
            "limit": arguments.page(limits),
        },
        exclusive=("before_seq", "after_seq"),
        ack=acks.FetchHistoryAck,
        errors=(ConversationNotFound, StoreUnavailable),
        use_case=lambda chat: chat.history.page,
    )
    FETCH_CHANGES = Request(
        name="fetch_changes",
        doc="Read what was created and changed after a change, page by page.",
        command=FetchChanges,
        fields=lambda limits: {
            "conversation_id": arguments.conversation_id(),
            "after": Int(required=True),
            "limit": arguments.page(limits),
        },
        ack=acks.FetchChangesAck,
        errors=(ConversationNotFound, StoreUnavailable),
        use_case=lambda chat: chat.history.changes,
    )
    FETCH_MESSAGES = Request(
        name="fetch_messages",
        doc="Get some messages by their places, for a quote of one that is not on a page.",
        command=FetchMessages,
        fields=lambda limits: {
            "conversation_id": arguments.conversation_id(),
            "seqs": ListOfSeqs(most=arguments.MAX_SEQS, required=True),
        },
        ack=acks.FetchMessagesAck,
        errors=(ConversationNotFound, StoreUnavailable),
        use_case=lambda chat: chat.history.some,
    )
    LIST_PARTICIPANTS = Request(
        name="list_participants",
        doc="Get who takes part, page by page in the order of ids.",
        command=ListParticipants,
        fields=lambda limits: {
            "conversation_id": arguments.conversation_id(),
            "after": Text(most=MAX_USER_ID_CHARS),
            "limit": arguments.page(limits),
        },
        ack=acks.ListParticipantsAck,
        errors=(ConversationNotFound, StoreUnavailable),
        use_case=lambda chat: chat.conversations.participants,
    )
    SET_TYPING = Request(
        name="set_typing",
        doc="Say that the user types, or has stopped; repeat true every three seconds while it lasts.",
        command=SetTyping,
        fields=lambda limits: {"conversation_id": arguments.conversation_id(), "typing": Bool(required=True)},
        ack=acks.SetTypingAck,
        errors=(ConversationNotFound, NotJoined, StoreUnavailable),
    )
    SET_VISIBILITY = Request(
        name="set_visibility",
        doc="Say whether the user is looking at the conversation on this socket; true marks everything as read.",
        command=SetVisibility,
        fields=lambda limits: {"conversation_id": arguments.conversation_id(), "visible": Bool(required=True)},
        ack=acks.SetVisibilityAck,
        errors=(ConversationNotFound, NotJoined, StoreUnavailable, Overloaded),
    )
