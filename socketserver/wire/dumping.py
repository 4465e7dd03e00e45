"""Domain values as the objects of shapes.py and announced.py; nothing else knows which value has which wire name."""

from __future__ import annotations

from typing import Any, Final

import orjson

from ..chat import domain
from ..chat.domain import ConversationId, UserId
from ..chat.identity import Identity, Profile
from ..chat.news import ConversationUpdated, MessageCreated, MessageUpdated, PeopleChanged
from ..chat.own_settings import OwnSettings
from ..chat.profiles import People
from ..errors import ChatError, End
from ..settings import Settings
from .announced import (
    ActivityWire,
    ConversationUpdatedWire,
    MessagesReadWire,
    ParticipantsChangedWire,
    SessionEndedWire,
    UserTypingWire,
    WelcomeWire,
)
from .fields import MAX_REACTION_CHARS
from .shapes import (
    ConversationSummaryWire,
    ConversationWire,
    ErrorWire,
    FailureWire,
    GapWire,
    MessageWire,
    OwnSettingsWire,
    ParticipantWire,
    PresenceWire,
    ProfileWire,
    SystemWire,
    UserWire,
)

# The client options that the documentation, the examples and `welcome` recommend.
RECONNECTION_ATTEMPTS: Final = 3
RECONNECTION_DELAY_MS: Final = 2_000
RECONNECTION_DELAY_MAX_MS: Final = 10_000

PREVIEW_CHARS: Final = 120
LISTED_REACTIONS: Final = 20  # users who are named with each reaction


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
    if isinstance(error.present, domain.Message):
        wire["present"] = dump_message(error.present)
    return wire


def dump_user(identity: Identity) -> UserWire:
    """Who somebody is."""
    wire: UserWire = {"id": identity.user_id, "name": identity.display_name}
    if identity.avatar:
        wire["avatar"] = identity.avatar
    return wire


def dump_conversation(conversation: domain.Conversation, *, listed: int = 0) -> ConversationWire:
    """A conversation, with the first `listed` participants by name; 0 names all that are known."""
    return {
        "id": conversation.id,
        "kind": conversation.kind,
        "title": conversation.title,
        "participantIds": list(conversation.participant_ids[: listed or None]),
        "participantCount": conversation.participant_count,
        "createdBy": conversation.created_by,
        "createdAt": conversation.created_at_ms,
        "metadata": conversation.metadata,
    }


def dump_message(message: domain.Message) -> MessageWire:
    """A stored message."""
    wire: MessageWire = {
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
    if message.reply_to is not None:
        wire["replyTo"] = message.reply_to
    if message.mentions:
        wire["mentions"] = list(message.mentions)
    if message.later is not domain.UNTOUCHED:
        _dump_later(wire, message.later)
    if message.system is not None:
        wire["kind"] = "system"
        wire["system"] = _dump_system(message.system)
    return wire


def _dump_system(system: domain.System) -> SystemWire:
    wire: SystemWire = {"type": system.type}
    if system.user_ids:
        wire["userIds"] = list(system.user_ids)
    if system.role is not None:
        wire["role"] = system.role
    if system.title is not None:
        wire["title"] = system.title
    return wire


def _dump_later(wire: MessageWire, later: domain.Later) -> None:
    if later.reactions:
        wire["reactions"] = [
            {
                "reaction": each.reaction,
                "count": len(each.user_ids),
                "userIds": list(each.user_ids[:LISTED_REACTIONS]),
            }
            for each in later.reactions
        ]
    if later.edited_at_ms is not None:
        wire["editedAt"] = later.edited_at_ms
    if later.deleted_at_ms is not None:
        wire["deletedAt"] = later.deleted_at_ms
        wire["deletedBy"] = later.deleted_by or ""


def encoded(news: MessageCreated | MessageUpdated | PeopleChanged) -> orjson.Fragment:
    """The message of a piece of news as JSON: made once, for every event and ack that it stands in."""
    if news.wire is None:
        news.wire = orjson.Fragment(orjson.dumps(dump_message(news.message)))
    wire: orjson.Fragment = news.wire
    return wire


def dump_settings(settings: OwnSettings) -> OwnSettingsWire:
    """What somebody has settled for himself."""
    return {
        "muted": settings.muted,
        "pinned": settings.pinned,
        "archived": settings.archived,
        "markedUnread": settings.marked_unread,
    }


def dump_summary(summary: domain.ConversationSummary) -> ConversationSummaryWire:
    """A conversation of a user's list."""
    return {
        **dump_conversation(summary.conversation),
        "lastMessage": dump_message(summary.last_message) if summary.last_message else None,
        "lastSeq": summary.last_seq,
        "change": summary.last_change,
        "readSeq": summary.read_seq,
        "unreadCount": summary.unread_count,
        "unreadMentions": summary.unread_mentions,
        "settings": dump_settings(summary.settings),
        "activityAt": summary.activity_at_ms,
    }


def dump_participant(
    mark: domain.ReadMark, role: domain.Role, *, online: bool, last_seen_at_ms: int | None
) -> ParticipantWire:
    """A participant with role, read mark and presence; `last_seen_at_ms` is None for one who is online or was never
    seen."""
    return {
        "userId": mark.user_id,
        "role": role,
        "readSeq": mark.read_seq,
        "readAt": mark.read_at_ms,
        "online": online,
        "lastSeenAt": last_seen_at_ms,
    }


def dump_profile(user_id: UserId, profile: Profile | None) -> ProfileWire:
    """How somebody is shown; with None for somebody who has never been here."""
    wire: ProfileWire = {"userId": user_id}
    if profile is None:
        wire["known"] = False
        return wire
    if profile.name is not None:
        wire["name"] = profile.name
    if profile.avatar is not None:
        wire["avatar"] = profile.avatar
    return wire


def dump_named(participant: ParticipantWire, people: People) -> ParticipantWire:
    """A participant with what is known of how to show them. Who has read something, or is here, has been here, even
    where that was not stored."""
    user_id = UserId(participant["userId"])
    if user_id not in people:
        return participant
    profile = people[user_id]
    if profile is None and (participant["readAt"] is not None or participant["online"]):
        return participant
    return {**participant, **dump_profile(user_id, profile)}


def dump_gap(gap: domain.Gap) -> GapWire:
    """What a page left out."""
    return {"fromSeq": gap.from_seq, "toSeq": gap.to_seq}


def dump_cursor(summary: domain.ConversationSummary) -> str:
    """Where a list of conversations goes on: opaque to clients, read back by `list_conversations`' `before`."""
    return f"{summary.activity_at_ms}:{summary.conversation.id}"


def dump_welcome(identity: Identity, connection_id: str, server_time_ms: int, settings: Settings) -> WelcomeWire:
    """What a socket is told when it has its user, with the limits in force."""
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
            "editWindowS": settings.edit_window_s,
            "deleteWindowS": settings.delete_window_s,
            "mentions": settings.max_mentions,
            "reactions": settings.max_reactions,
            "reactionsPerUser": settings.max_reactions_user,
            "reactionsInAll": settings.max_reactions_all,
            "reactionChars": MAX_REACTION_CHARS,
        },
    }


def dump_activity(message: domain.Message) -> ActivityWire:
    """A message as those see it who have not joined its conversation."""
    wire: ActivityWire = {
        "conversationId": message.conversation_id,
        "seq": message.seq,
        "senderId": message.sender_id,
        "preview": message.body[:PREVIEW_CHARS],
        "createdAt": message.created_at_ms,
    }
    if message.mentions:
        wire["mentions"] = list(message.mentions)
    return wire


def dump_people_changed(changed: PeopleChanged, profiles: list[Any]) -> ParticipantsChangedWire:
    """Who has come and gone, and who has another role; `profiles` are of who has come, encoded, as many as fit."""
    return {
        "conversationId": changed.conversation.id,
        "change": changed.message.change,
        "added": [{"userId": user_id, "role": changed.roles.get(user_id, "member")} for user_id in changed.added],
        "removed": list(changed.removed),
        "roles": [
            {"userId": user_id, "role": role} for user_id, role in changed.roles.items() if user_id not in changed.added
        ],
        "profiles": profiles,
    }


def dump_conversation_updated(updated: ConversationUpdated, *, listed: int) -> ConversationUpdatedWire:
    """What lists show; `listed` as in `dump_conversation`."""
    wire: ConversationUpdatedWire = {"conversation": dump_conversation(updated.conversation, listed=listed)}
    if updated.change is not None:
        wire["change"] = updated.change
    if updated.preview:
        wire["lastMessage"] = None if updated.last_message is None else dump_message(updated.last_message)
    if updated.uncounted_seq is not None:
        wire["uncountedSeq"] = updated.uncounted_seq
    if updated.mentions is not None:
        seq, added, removed = updated.mentions.seq, updated.mentions.added, updated.mentions.removed
        wire["mentions"] = {"seq": seq, "added": list(added), "removed": list(removed)}
    return wire


def dump_messages_read(conversation_id: ConversationId, mark: domain.ReadMark) -> MessagesReadWire:
    """A read mark that moved."""
    return {
        "conversationId": conversation_id,
        "userId": mark.user_id,
        "readSeq": mark.read_seq,
        "readAt": mark.read_at_ms,
    }


def dump_typing(conversation_id: ConversationId, user_id: UserId, typing: bool) -> UserTypingWire:
    """Whether somebody types."""
    return {"conversationId": conversation_id, "userId": user_id, "typing": typing}


def dump_presence(user_id: UserId, online: bool, last_seen_at_ms: int | None) -> PresenceWire:
    """Whether somebody is there; `last_seen_at_ms` is None for one who is online or was never seen."""
    return {"userId": user_id, "online": online, "lastSeenAt": last_seen_at_ms}


def dump_session_ended(
    end: End, retry_after_ms: int | None = None, *, limit_bytes: int | None = None
) -> SessionEndedWire:
    """The last words to a socket.

    Args:
        retry_after_ms: when to come back; None where it does not matter.
        limit_bytes: for `too_large`: how large it might have been.
    """
    wire: SessionEndedWire = {"code": end.code, "message": end.message, "reconnect": end.reconnect}
    if retry_after_ms is not None:
        wire["retryAfterMs"] = retry_after_ms
    if limit_bytes is not None:
        wire["message"] += f" The limit is {limit_bytes} bytes."
        wire["limitBytes"] = limit_bytes
    return wire
