"""The shapes of what the handlers answer beside `ok`, and which event has which shape; docs/protocol.md in types.

The objects inside are those of protocol.py. tests/integration/test_typescript_wire.py holds a real server to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NotRequired, TypedDict

from .protocol import (
    ActivityWire,
    ClientEvent,
    ConversationSummaryWire,
    ConversationWire,
    GapWire,
    MessagesReadWire,
    MessageWire,
    ParticipantWire,
    PresenceWire,
    ServerEvent,
    SessionEndedWire,
    UserTypingWire,
    UserWire,
    WelcomeWire,
)


class AuthenticateAck(TypedDict):
    user: UserWire


class CreateConversationAck(TypedDict):
    conversation: ConversationWire
    duplicate: bool


class ListConversationsAck(TypedDict):
    conversations: list[ConversationSummaryWire]
    presence: list[PresenceWire]
    hasMore: bool
    nextBefore: str | None


class JoinConversationAck(TypedDict):
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
    pass


class SendMessageAck(TypedDict):
    message: MessageWire
    duplicate: bool


class MarkReadAck(TypedDict):
    readSeq: int
    unreadCount: int


class FetchHistoryAck(TypedDict):
    messages: list[MessageWire]
    hasMore: bool


class ListParticipantsAck(TypedDict):
    participants: list[ParticipantWire]
    hasMore: bool
    nextAfter: str | None


class SetTypingAck(TypedDict):
    pass


class SetVisibilityAck(TypedDict):
    pass


class MessageCreatedWire(TypedDict):
    message: MessageWire


class ConversationCreatedWire(TypedDict):
    conversation: ConversationWire


ACKS: Final[Mapping[ClientEvent, type]] = {
    ClientEvent.AUTHENTICATE: AuthenticateAck,
    ClientEvent.CREATE_CONVERSATION: CreateConversationAck,
    ClientEvent.LIST_CONVERSATIONS: ListConversationsAck,
    ClientEvent.JOIN_CONVERSATION: JoinConversationAck,
    ClientEvent.LEAVE_CONVERSATION: LeaveConversationAck,
    ClientEvent.SEND_MESSAGE: SendMessageAck,
    ClientEvent.MARK_READ: MarkReadAck,
    ClientEvent.FETCH_HISTORY: FetchHistoryAck,
    ClientEvent.LIST_PARTICIPANTS: ListParticipantsAck,
    ClientEvent.SET_TYPING: SetTypingAck,
    ClientEvent.SET_VISIBILITY: SetVisibilityAck,
}

# Where to find what an event announces, for whoever did not hear it: fields of acks. None: it announces no state.
# docs/decisions/0019-what-is-announced-is-in-an-answer-too.md
SNAPSHOTS: Final[Mapping[ServerEvent, Mapping[ClientEvent, str] | None]] = {
    ServerEvent.WELCOME: None,  # it comes with every connection
    ServerEvent.MESSAGE_CREATED: {
        ClientEvent.JOIN_CONVERSATION: "messages",
        ClientEvent.LIST_CONVERSATIONS: "conversations",
        ClientEvent.FETCH_HISTORY: "messages",
    },
    ServerEvent.CONVERSATION_ACTIVITY: {ClientEvent.LIST_CONVERSATIONS: "conversations"},
    ServerEvent.CONVERSATION_CREATED: {ClientEvent.LIST_CONVERSATIONS: "conversations"},
    ServerEvent.MESSAGES_READ: {
        ClientEvent.JOIN_CONVERSATION: "participants",
        ClientEvent.LIST_CONVERSATIONS: "conversations",
    },
    ServerEvent.USER_TYPING: {ClientEvent.JOIN_CONVERSATION: "typing"},
    ServerEvent.PRESENCE_CHANGED: {
        ClientEvent.JOIN_CONVERSATION: "participants",
        ClientEvent.LIST_CONVERSATIONS: "presence",
    },
    ServerEvent.SESSION_ENDED: None,  # there is no connection any more that could ask
}

PAYLOADS: Final[Mapping[ServerEvent, type]] = {
    ServerEvent.WELCOME: WelcomeWire,
    ServerEvent.MESSAGE_CREATED: MessageCreatedWire,
    ServerEvent.CONVERSATION_ACTIVITY: ActivityWire,
    ServerEvent.CONVERSATION_CREATED: ConversationCreatedWire,
    ServerEvent.MESSAGES_READ: MessagesReadWire,
    ServerEvent.USER_TYPING: UserTypingWire,
    ServerEvent.PRESENCE_CHANGED: PresenceWire,
    ServerEvent.SESSION_ENDED: SessionEndedWire,
}
