"""The wire contract: event names, what clients may send, what they get, how acks look; docs/protocol.md in code.

`Payloads.load` turns what a client sent into a command of domain.py or raises InvalidPayload; the `dump_…` functions
turn domain values into JSON objects with the shapes of the TypedDicts below. Nothing else knows a wire name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, NotRequired, TypedDict

import orjson
from marshmallow import RAISE, Schema, ValidationError, fields, missing, validate, validates_schema

from ..chat import domain
from ..chat.domain import ConversationId, Identity, UserId
from ..errors import ChatError, End, InvalidPayload, UnknownEvent
from ..settings import Settings
from ..values import MAX_SAFE_INTEGER as MAX_SAFE_INTEGER
from ..values import MAX_USER_ID_CHARS as MAX_USER_ID_CHARS
from .fields import MAX_ID_CHARS as MAX_ID_CHARS
from .fields import Bool, Cursor, Int, ListOfUserIds, Metadata, Quick, Shown, Text, encodable

PATH: Final = "/socket.io/"
NAMESPACE: Final = "/"

# The client options that the documentation, the examples and `welcome` recommend.
RECONNECTION_ATTEMPTS: Final = 3
RECONNECTION_DELAY_MS: Final = 2_000
RECONNECTION_DELAY_MAX_MS: Final = 10_000

DEFAULT_PAGE: Final = 50
PREVIEW_CHARS: Final = 120
MAX_KEY_CHARS: Final = 128
MAX_TITLE_CHARS: Final = 200
MAX_TOKEN_CHARS: Final = 8_192


class ClientEvent(StrEnum):
    """Events that a client may send; every one is acked."""

    AUTHENTICATE = "authenticate"
    CREATE_CONVERSATION = "create_conversation"
    LIST_CONVERSATIONS = "list_conversations"
    JOIN_CONVERSATION = "join_conversation"
    LEAVE_CONVERSATION = "leave_conversation"
    SEND_MESSAGE = "send_message"
    MARK_READ = "mark_read"
    FETCH_HISTORY = "fetch_history"
    LIST_PARTICIPANTS = "list_participants"
    SET_TYPING = "set_typing"
    SET_VISIBILITY = "set_visibility"


class ServerEvent(StrEnum):
    """Events that the server sends."""

    WELCOME = "welcome"
    MESSAGE_CREATED = "message_created"
    CONVERSATION_ACTIVITY = "conversation_activity"
    CONVERSATION_CREATED = "conversation_created"
    MESSAGES_READ = "messages_read"
    USER_TYPING = "user_typing"
    PRESENCE_CHANGED = "presence_changed"
    SESSION_ENDED = "session_ended"


# What goes out. Times are UTC milliseconds.


class UserWire(TypedDict):
    id: str
    name: str


class ConversationWire(TypedDict):
    id: str
    kind: str
    title: str | None
    participantIds: list[str]
    participantCount: int
    createdBy: str
    createdAt: int


class MessageWire(TypedDict):
    id: str
    conversationId: str
    seq: int
    change: int
    senderId: str
    idempotencyKey: str
    body: str
    metadata: dict[str, Any] | None
    createdAt: int


class ConversationSummaryWire(ConversationWire):
    lastMessage: MessageWire | None
    lastSeq: int
    change: int
    readSeq: int
    unreadCount: int
    activityAt: int


class ParticipantWire(TypedDict):
    userId: str
    readSeq: int
    readAt: int | None
    online: bool
    lastSeenAt: int | None


class GapWire(TypedDict):
    fromSeq: int
    toSeq: int


class ErrorWire(TypedDict):
    code: str
    message: str
    retryable: bool
    retryAfterMs: NotRequired[int]
    limitBytes: NotRequired[int]
    fields: NotRequired[Mapping[str, object]]
    help: NotRequired[str]


class FailureWire(TypedDict):
    ok: bool
    error: ErrorWire


class ReconnectionWire(TypedDict):
    attempts: int
    delayMs: int
    delayMaxMs: int


class LimitsWire(TypedDict):
    bodyChars: int
    metadataBytes: int
    eventBytes: int
    participants: int
    page: int
    joinedConversations: int
    messagesPerSecond: float
    messagesBurst: int


class WelcomeWire(TypedDict):
    user: UserWire
    connectionId: str
    serverTime: int
    reconnection: ReconnectionWire
    limits: LimitsWire


class ActivityWire(TypedDict):
    conversationId: str
    seq: int
    senderId: str
    preview: str
    createdAt: int


class MessagesReadWire(TypedDict):
    conversationId: str
    userId: str
    readSeq: int
    readAt: int | None


class UserTypingWire(TypedDict):
    conversationId: str
    userId: str
    typing: bool


class PresenceWire(TypedDict):
    userId: str
    online: bool
    lastSeenAt: int | None


class SessionEndedWire(TypedDict):
    code: str
    message: str
    reconnect: bool
    retryAfterMs: NotRequired[int]
    limitBytes: NotRequired[int]


def dump_ok(**values: object) -> dict[str, object]:
    """The ack of a request that worked."""
    return {"ok": True, **values}


def dump_failure(error: ChatError) -> FailureWire:
    """The ack of a request that did not work."""
    return {"ok": False, "error": dump_error(error)}


def dump_error(error: ChatError) -> ErrorWire:
    """An error as acks, connect_error data and HTTP answers carry it."""
    wire: ErrorWire = {"code": error.code, "message": error.message, "retryable": error.retryable}
    if error.retry_after_ms is not None:
        wire["retryAfterMs"] = error.retry_after_ms
    if error.fields is not None:
        wire["fields"] = error.fields
    if error.limit_bytes is not None:
        wire["limitBytes"] = error.limit_bytes
    return wire


def dump_user(identity: Identity) -> UserWire:
    return {"id": identity.user_id, "name": identity.name}


def dump_conversation(conversation: domain.Conversation, *, listed: int = 0) -> ConversationWire:
    """Args: listed: so many participants are named; 0 for all that are known."""
    return {
        "id": conversation.id,
        "kind": conversation.kind,
        "title": conversation.title,
        "participantIds": list(conversation.participant_ids[: listed or None]),
        "participantCount": conversation.participant_count,
        "createdBy": conversation.created_by,
        "createdAt": conversation.created_at_ms,
    }


def dump_message(message: domain.Message) -> MessageWire:
    return {
        "id": message.id,
        "conversationId": message.conversation_id,
        "seq": message.seq,
        "change": message.change,
        "senderId": message.sender_id,
        "idempotencyKey": message.idempotency_key,
        "body": message.body,
        "metadata": message.metadata,
        "createdAt": message.created_at_ms,
    }


class MessageEncoder:
    """Messages as JSON, encoded once for the event and the ack that follows it: it remembers the last one."""

    def __init__(self) -> None:
        self._message: domain.Message | None = None
        self._json = orjson.Fragment(b"")

    def encode(self, message: domain.Message) -> orjson.Fragment:
        """`dump_message`, encoded; it can stand anywhere in the data of an event or an ack."""
        if message is not self._message:
            self._message, self._json = message, orjson.Fragment(orjson.dumps(dump_message(message)))
        return self._json


def dump_summary(summary: domain.ConversationSummary) -> ConversationSummaryWire:
    return {
        **dump_conversation(summary.conversation),
        "lastMessage": dump_message(summary.last_message) if summary.last_message else None,
        "lastSeq": summary.last_seq,
        "change": summary.last_change,
        "readSeq": summary.read_seq,
        "unreadCount": summary.last_seq - summary.read_seq,
        "activityAt": summary.activity_at_ms,
    }


def dump_participant(mark: domain.ReadMark, *, online: bool, last_seen_at_ms: int | None) -> ParticipantWire:
    return {
        "userId": mark.user_id,
        "readSeq": mark.read_seq,
        "readAt": mark.read_at_ms,
        "online": online,
        "lastSeenAt": last_seen_at_ms,
    }


def dump_gap(gap: domain.Gap) -> GapWire:
    return {"fromSeq": gap.from_seq, "toSeq": gap.to_seq}


def dump_cursor(summary: domain.ConversationSummary) -> str:
    """Where a list of conversations goes on: opaque to clients, read back by `list_conversations`' `before`."""
    return f"{summary.activity_at_ms}:{summary.conversation.id}"


def dump_welcome(identity: Identity, connection_id: str, server_time_ms: int, settings: Settings) -> WelcomeWire:
    return {
        "user": dump_user(identity),
        "connectionId": connection_id,
        "serverTime": server_time_ms,
        "reconnection": {
            "attempts": RECONNECTION_ATTEMPTS,
            "delayMs": RECONNECTION_DELAY_MS,
            "delayMaxMs": RECONNECTION_DELAY_MAX_MS,
        },
        "limits": {
            "bodyChars": settings.max_body_chars,
            "metadataBytes": settings.max_metadata_bytes,
            "eventBytes": settings.max_event_bytes,
            "participants": settings.max_participants,
            "page": settings.max_page,
            "joinedConversations": settings.joined_per_socket,
            "messagesPerSecond": settings.messages_per_second,
            "messagesBurst": settings.messages_burst,
        },
    }


def dump_activity(message: domain.Message) -> ActivityWire:
    return {
        "conversationId": message.conversation_id,
        "seq": message.seq,
        "senderId": message.sender_id,
        "preview": message.body[:PREVIEW_CHARS],
        "createdAt": message.created_at_ms,
    }


def dump_messages_read(conversation_id: ConversationId, mark: domain.ReadMark) -> MessagesReadWire:
    return {
        "conversationId": conversation_id,
        "userId": mark.user_id,
        "readSeq": mark.read_seq,
        "readAt": mark.read_at_ms,
    }


def dump_typing(conversation_id: ConversationId, user_id: UserId, typing: bool) -> UserTypingWire:
    return {"conversationId": conversation_id, "userId": user_id, "typing": typing}


def dump_presence(user_id: UserId, online: bool, last_seen_at_ms: int | None) -> PresenceWire:
    return {"userId": user_id, "online": online, "lastSeenAt": last_seen_at_ms}


def dump_session_ended(
    end: End, retry_after_ms: int | None = None, *, limit_bytes: int | None = None
) -> SessionEndedWire:
    wire: SessionEndedWire = {"code": end.code, "message": end.message, "reconnect": end.reconnect}
    if retry_after_ms is not None:
        wire["retryAfterMs"] = retry_after_ms
    if limit_bytes is not None:
        wire["message"] += f" The limit is {limit_bytes} bytes."
        wire["limitBytes"] = limit_bytes
    return wire


# What comes in.

_KEY_PATTERN: Final = r"\A[\x21-\x7e]+\Z"


def _conversation_id() -> Text:
    return Text(most=MAX_ID_CHARS, required=True, data_key="conversationId")


class Payloads:
    """Checks what clients send against the contract and the configured limits.

    Immutable after construction; one per server.
    """

    def __init__(self, settings: Settings) -> None:
        page = {"least": 1, "most": settings.max_page, "load_default": min(DEFAULT_PAGE, settings.max_page)}
        shapes: dict[ClientEvent, tuple[type[Any], dict[str, fields.Field[Any]]]] = {
            ClientEvent.AUTHENTICATE: (
                domain.Authenticate,
                {"token": Text(most=MAX_TOKEN_CHARS, required=True)},
            ),
            ClientEvent.CREATE_CONVERSATION: (
                domain.CreateConversation,
                {
                    "participant_ids": ListOfUserIds(
                        most=settings.max_participants,
                        required=True,
                        data_key="participantIds",
                        validate=validate.Length(1),
                    ),
                    "title": Shown(most=MAX_TITLE_CHARS, allow_none=True),
                    "idempotency_key": Text(most=MAX_KEY_CHARS, pattern=_KEY_PATTERN, data_key="idempotencyKey"),
                },
            ),
            ClientEvent.LIST_CONVERSATIONS: (
                domain.ListConversations,
                {"limit": Int(**page), "before": Cursor()},
            ),
            ClientEvent.JOIN_CONVERSATION: (
                domain.JoinConversation,
                {
                    "conversation_id": _conversation_id(),
                    "after": Int(),
                    "limit": Int(**page),
                    "visible": Bool(),
                },
            ),
            ClientEvent.LEAVE_CONVERSATION: (domain.LeaveConversation, {"conversation_id": _conversation_id()}),
            ClientEvent.SEND_MESSAGE: (
                domain.SendMessage,
                {
                    "conversation_id": _conversation_id(),
                    "idempotency_key": Text(
                        most=MAX_KEY_CHARS, pattern=_KEY_PATTERN, required=True, data_key="idempotencyKey"
                    ),
                    "body": Shown(most=settings.max_body_chars, required=True),
                    "metadata": Metadata(most_bytes=settings.max_metadata_bytes, allow_none=True),
                },
            ),
            ClientEvent.MARK_READ: (
                domain.MarkRead,
                {"conversation_id": _conversation_id(), "seq": Int(required=True)},
            ),
            ClientEvent.FETCH_HISTORY: (
                domain.FetchHistory,
                {
                    "conversation_id": _conversation_id(),
                    "before_seq": Int(least=1, data_key="beforeSeq"),
                    "after_seq": Int(data_key="afterSeq"),
                    "limit": Int(**page),
                },
            ),
            ClientEvent.LIST_PARTICIPANTS: (
                domain.ListParticipants,
                {
                    "conversation_id": _conversation_id(),
                    "after": Text(most=MAX_USER_ID_CHARS),
                    "limit": Int(**page),
                },
            ),
            ClientEvent.SET_TYPING: (
                domain.SetTyping,
                {"conversation_id": _conversation_id(), "typing": Bool(required=True)},
            ),
            ClientEvent.SET_VISIBILITY: (
                domain.SetVisibility,
                {"conversation_id": _conversation_id(), "visible": Bool(required=True)},
            ),
        }
        self._loaders = {event.value: _Loader(event, command, shape) for event, (command, shape) in shapes.items()}

    def load(self, event: str, arguments: Sequence[object]) -> domain.Command:
        """Turn the arguments of a client event into its command.

        Raises: UnknownEvent; InvalidPayload, whose `fields` has a list of sentences per wire name, and under
            `payload` what is wrong with the whole.
        """
        loader = self._loaders.get(event)
        if loader is None:
            raise UnknownEvent(f"There is no event {event[:64]!r}." if encodable(event) else None)
        if len(arguments) != 1 or type(arguments[0]) is not dict:
            raise InvalidPayload(f"{event} takes exactly one object.", fields={"payload": ["Send exactly one object."]})
        return loader.load(arguments[0])

    def schema(self, event: str) -> Schema:
        """The marshmallow schema of an event's payload."""
        return self._loaders[event].schema


class _Loader:
    """Makes one event's commands.

    A payload whose fields all say that their values are good needs no marshmallow; all else goes through it, and so
    does every error. An event with a field that never says so, or with a rule over several fields, always does.
    """

    def __init__(self, event: ClientEvent, command: type[Any], shape: dict[str, fields.Field[Any]]) -> None:
        self.schema = _schema(event, shape)
        self._command = command
        # By wire name: the command's field, and whether a value is good.
        self._quick: dict[str, tuple[str, Callable[[Any], bool]]] = {}
        self._required = frozenset(field.data_key or name for name, field in shape.items() if field.required)
        self._defaults = {
            name: field.load_default for name, field in shape.items() if field.load_default is not missing
        }
        if event is not ClientEvent.FETCH_HISTORY:
            for name, field in shape.items():
                if isinstance(field, Quick):
                    self._quick[field.data_key or name] = (name, field.good)

    def load(self, payload: dict[str, Any]) -> domain.Command:
        """Raises: InvalidPayload."""
        values = dict(self._defaults)
        found = 0
        for key, value in payload.items():
            quick = self._quick.get(key)
            if quick is None or not quick[1](value):
                break
            values[quick[0]] = value
            found += key in self._required
        else:
            if found == len(self._required):
                return self._command(**values)  # type: ignore[no-any-return]  # one of the commands
        try:
            values = self.schema.load(payload)
        except ValidationError as error:
            raise InvalidPayload(fields=_field_errors(error.messages_dict)) from None
        return self._command(**values)  # type: ignore[no-any-return]


class _FetchHistorySchema(Schema):
    """The only rule that spans two fields."""

    @validates_schema
    def one_direction(self, data: Mapping[str, object], **kwargs: object) -> None:
        if "before_seq" in data and "after_seq" in data:
            raise ValidationError("Give beforeSeq or afterSeq, not both.", "afterSeq")


def _schema(event: ClientEvent, shape: dict[str, fields.Field[Any]]) -> Schema:
    base = _FetchHistorySchema if event is ClientEvent.FETCH_HISTORY else Schema
    return base.from_dict(dict(shape), name=event.title())(unknown=RAISE)


def _field_errors(messages: Mapping[Any, Any]) -> dict[str, object]:
    """marshmallow's messages as JSON: text keys, `payload` for the whole, at most 20 entries per level."""
    errors: dict[str, object] = {}
    for key, value in list(messages.items())[:20]:
        name = "payload" if key == "_schema" else str(key)[:64]
        name = name if encodable(name) else "?"
        errors[name] = _field_errors(value) if isinstance(value, Mapping) else value
    return errors
