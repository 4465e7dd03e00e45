"""The table of what the server announces: one declaration each. Beside the requests of events.py, all that there is on
the wire."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from . import announced, shapes
from .rows import Announcement


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
        payload=announced.WelcomeWire,
        snapshot=None,  # it comes with every connection
    )
    MESSAGE_CREATED = Announcement(
        name="message_created",
        doc="A message was stored: to every socket that joined the conversation, the sender's too. It can come twice.",
        payload=announced.MessageCreatedWire,
        snapshot={
            "join_conversation": "messages",
            "list_conversations": "conversations",
            "fetch_history": "messages",
        },
    )
    MESSAGE_UPDATED = Announcement(
        name="message_updated",
        doc="A message was edited, deleted or reacted to: to every socket that joined. It can come twice.",
        payload=announced.MessageUpdatedWire,
        snapshot={"join_conversation": "updates", "fetch_changes": "messages", "fetch_history": "messages"},
    )
    CONVERSATION_ACTIVITY = Announcement(
        name="conversation_activity",
        doc="A message was stored in a conversation that this socket has not joined. It can come twice.",
        payload=announced.ActivityWire,
        snapshot={"list_conversations": "conversations"},
    )
    CONVERSATION_CREATED = Announcement(
        name="conversation_created",
        doc="Somebody created a conversation in which you take part, or added you to one.",
        payload=announced.ConversationCreatedWire,
        snapshot={"list_conversations": "conversations"},
    )
    PARTICIPANTS_CHANGED = Announcement(
        name="participants_changed",
        doc="People have come or gone, or have another role, in a conversation that this socket joined.",
        payload=announced.ParticipantsChangedWire,
        snapshot={"join_conversation": "participants"},
    )
    CONVERSATION_REMOVED = Announcement(
        name="conversation_removed",
        doc="You do not take part in a conversation any more: nothing of it comes after this.",
        payload=announced.ConversationRemovedWire,
        snapshot={"list_conversations": "conversations"},
    )
    CONVERSATION_UPDATED = Announcement(
        name="conversation_updated",
        doc="What your list shows of a conversation has changed, other than by a new message: its title too.",
        payload=announced.ConversationUpdatedWire,
        snapshot={"list_conversations": "conversations"},
    )
    MESSAGES_READ = Announcement(
        name="messages_read",
        doc="Somebody's read mark moved. There is none for the reading that sending implies.",
        payload=announced.MessagesReadWire,
        snapshot={"join_conversation": "participants", "list_conversations": "conversations"},
    )
    SETTINGS_CHANGED = Announcement(
        name="settings_changed",
        doc="You have settled something for yourself in a conversation, or read what you had marked as unread.",
        payload=announced.SettingsChangedWire,
        snapshot={"join_conversation": "settings", "list_conversations": "conversations"},
    )
    USER_TYPING = Announcement(
        name="user_typing",
        doc="Somebody began, goes on, or stopped typing in a small conversation that this socket joined.",
        payload=announced.UserTypingWire,
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
        payload=announced.SessionEndedWire,
        snapshot=None,  # there is no connection any more that could ask
    )
