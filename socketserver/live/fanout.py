"""Who is told what: turns what happened into server events to the right sockets. Rooms are named here and nowhere else.

Nothing here waits: an event is put into the recipients' outboxes, or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ..chat.domain import Clock, Conversation, ConversationId, UserId
from ..chat.news import ConversationCreated, MessageCreated, MessagesRead, MessageUpdated, News
from ..wire import protocol
from ..wire.protocol import PresenceWire, ServerEvent
from .auto_read import AutoRead, Seen
from .connections import Connection, Sessions

if TYPE_CHECKING:
    from ..realtime import AsyncServer


def conversation_room(conversation_id: ConversationId) -> str:
    """The sockets that joined a conversation."""
    return f"c:{conversation_id}"


def user_room(user_id: UserId) -> str:
    """A user's sockets."""
    return f"u:{user_id}"


def watch_room(user_id: UserId) -> str:
    """The sockets that are told of a user's presence."""
    return f"p:{user_id}"


def rooms_of(connection: Connection) -> set[str]:
    """The rooms that a socket belongs in, by what it has joined and watches. Without a user it is in none."""
    if connection.user_id is None:
        return set()
    joined = map(conversation_room, connection.joined)
    return {user_room(connection.user_id), *joined, *map(watch_room, connection.watched)}


class Fanout:
    """Receives the chat's news, and has the events that are never stored: typing and presence.

    Args:
        small_conversation: up to how many participants a conversation shows typing, presence and read marks live;
            above, each of them would cost the square of the participants.
        listed_participants: how many participants a new conversation names; 0 for all.
    """

    def __init__(
        self,
        sio: AsyncServer,
        sessions: Sessions,
        auto_read: AutoRead,
        clock: Clock,
        *,
        small_conversation: int,
        listed_participants: int = 0,
    ) -> None:
        self._sio = sio
        self._sessions = sessions
        self._auto_read = auto_read
        self._clock = clock
        self._small_conversation = small_conversation
        self._listed_participants = listed_participants
        self._announce: Final[Mapping[type, Callable[[Any], None]]] = {
            MessageCreated: self.message_created,
            MessageUpdated: self.message_updated,
            ConversationCreated: self.conversation_created,
            MessagesRead: self.messages_read,
        }

    def receive(self, news: News) -> None:
        """Announce what has happened to the sockets that it concerns."""
        self._announce[type(news)](news)

    def is_small(self, conversation: Conversation) -> bool:
        """Whether the participants are told live of each other's typing, presence and reading."""
        return not self._small_conversation or len(conversation.participant_ids) <= self._small_conversation

    def message_created(self, created: MessageCreated) -> None:
        """`message_created` to the sockets that joined, `conversation_activity` to participants' other sockets."""
        conversation, message = created.conversation, created.message
        self._sio.emit_now(
            ServerEvent.MESSAGE_CREATED,
            {"message": protocol.encoded(created)},
            room=conversation_room(conversation.id),
        )
        elsewhere: list[str] = []
        now_s = self._clock.monotonic_s()
        for user_id in conversation.participant_ids:
            shown = False
            for connection in self._sessions.of_user(user_id):
                visible = connection.joined.get(conversation.id)
                if visible is None:
                    elsewhere.append(connection.sid)
                elif visible and self.reaches(connection):
                    shown = True
            if shown and user_id != message.sender_id:  # sending counts as reading already
                self._auto_read.see(Seen(conversation.id, user_id, message.seq), now_s)
        if elsewhere:
            self._sio.emit_now(ServerEvent.CONVERSATION_ACTIVITY, protocol.dump_activity(message), room=elsewhere)

    def message_updated(self, updated: MessageUpdated) -> None:
        """`message_updated` to the sockets that joined."""
        self._sio.emit_now(
            ServerEvent.MESSAGE_UPDATED,
            {"message": protocol.encoded(updated)},
            room=conversation_room(updated.conversation.id),
        )

    def conversation_created(self, created: ConversationCreated) -> None:
        """`conversation_created` to all participants' sockets."""
        conversation = created.conversation
        self._sio.emit_now(
            ServerEvent.CONVERSATION_CREATED,
            {"conversation": protocol.dump_conversation(conversation, listed=self._listed_participants)},
            room=[user_room(user_id) for user_id in conversation.participant_ids],
        )

    def messages_read(self, read: MessagesRead) -> None:
        """`messages_read` to the sockets that joined, and to the reader's own (for the unread counts)."""
        conversation, mark = read.conversation, read.mark
        rooms = [user_room(mark.user_id)]
        if self.is_small(conversation):
            rooms.append(conversation_room(conversation.id))
        self._sio.emit_now(ServerEvent.MESSAGES_READ, protocol.dump_messages_read(conversation.id, mark), room=rooms)

    def typing(self, conversation_id: ConversationId, user_id: UserId, typing: bool, *, sid: str) -> None:
        """`user_typing` to the sockets that joined, but to none of the user who types: one that was told that the user
        types on another would not be told of the end on itself."""
        own = {sid, *(connection.sid for connection in self._sessions.of_user(user_id))}
        self._sio.emit_now(
            ServerEvent.USER_TYPING,
            protocol.dump_typing(conversation_id, user_id, typing),
            room=conversation_room(conversation_id),
            skip_sid=own if len(own) > 1 else sid,
        )

    def presence(self, user_id: UserId, *, online: bool, last_seen_ms: int | None) -> None:
        """`presence_changed` to the sockets that watch the user."""
        self._sio.emit_now(
            ServerEvent.PRESENCE_CHANGED,
            protocol.dump_presence(user_id, online, last_seen_ms),
            room=watch_room(user_id),
        )

    def presence_to(self, connection: Connection, presence: PresenceWire) -> None:
        """`presence_changed` to one socket, that begins to watch the user without having asked."""
        self._sio.emit_now(ServerEvent.PRESENCE_CHANGED, presence, room=connection.sid)

    def ask(self, seen: Seen) -> None:
        """Ask those of the user's sockets that show the conversation whether they are alive; AutoRead is told of the
        answers. A page that is frozen gives none until it wakes up, one that is gone gives none at all."""
        for connection in self._sessions.of_user(seen.user_id):
            shows = connection.joined.get(seen.conversation_id) and self.reaches(connection)
            if shows and self._auto_read.ask(connection.sid, seen):
                self._sio.probe(connection.sid, partial(self._answered, connection.sid))

    def _answered(self, sid: str) -> None:
        if self._auto_read.answered(sid):
            self._sio.probe(sid, partial(self._answered, sid))

    def reaches(self, connection: Connection) -> bool:
        """Whether the socket is there still, as far as one can know: its last requests are handled when it is not."""
        return self._sio.is_open(connection.sid)

    async def enter(self, connection: Connection, room: str) -> None:
        """Put a socket into a room."""
        await self._sio.enter_room(connection.sid, room)

    async def leave(self, connection: Connection, room: str) -> None:
        """Take a socket out of a room."""
        await self._sio.leave_room(connection.sid, room)
