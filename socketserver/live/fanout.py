"""Who is told what: turns what happened into server events to the right sockets. Rooms are named here and nowhere else.

Nothing here waits: an event is put into the recipients' outboxes, or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ..chat import visible
from ..chat.domain import Clock, Conversation, ConversationId, UserId
from ..chat.identity import Profile
from ..chat.news import (
    ConversationCreated,
    ConversationUpdated,
    MessageCreated,
    MessagesRead,
    MessageUpdated,
    News,
    PeopleChanged,
    PeopleKnown,
    ProfileChanged,
    SettingsChanged,
)
from ..wire import protocol
from ..wire.pages import fit_profiles
from ..wire.protocol import PresenceWire, ProfileWire, ServerEvent
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
    """The sockets that are told of a user's presence, and of how the user is shown."""
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
        listed_participants, joined_participants: how many participants a conversation names, and a join tells of; 0 for
            all. In larger ones messages come with how their senders are shown.
        outbox_bytes: what a client may leave unread; 0 for no bound.
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
        joined_participants: int = 0,
        outbox_bytes: int = 0,
    ) -> None:
        self._sio = sio
        self._sessions = sessions
        self._auto_read = auto_read
        self._clock = clock
        self._small_conversation = small_conversation
        self._listed_participants = listed_participants
        self._joined_participants = joined_participants
        self._outbox_bytes = outbox_bytes
        self._announce: Final[Mapping[type, Callable[[Any], None]]] = {
            MessageCreated: self.message_created,
            MessageUpdated: self.message_updated,
            ConversationCreated: self.conversation_created,
            ConversationUpdated: self.conversation_updated,
            MessagesRead: self.messages_read,
            ProfileChanged: self.profile_changed,
            SettingsChanged: self.settings_changed,
            PeopleChanged: self.people_changed,
            PeopleKnown: lambda known: None,  # eviction.py's
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
            {"message": protocol.encoded(created), **_sender(conversation, created.sender, self._joined_participants)},
            room=conversation_room(conversation.id),
            skip_sid=self._blind(conversation, message.seq),
        )
        elsewhere, looking = self._sessions.around(conversation.id, conversation.participant_ids)
        readers = dict.fromkeys(user_id for user_id, connection in looking if self.reaches(connection))
        readers.pop(message.sender_id, None)  # sending counts as reading already
        now_s = self._clock.monotonic_s()
        for user_id in readers:
            self._auto_read.see(Seen(conversation.id, user_id, message.seq), now_s)
        if elsewhere:
            sender = _sender(conversation, created.sender, self._listed_participants)
            activity = {**protocol.dump_activity(message), **sender}
            blind = self._blind(conversation, message.seq) or ()
            sids = [connection.sid for connection in elsewhere if connection.sid not in blind]
            self._sio.emit_now(ServerEvent.CONVERSATION_ACTIVITY, activity, room=sids)

    def message_updated(self, updated: MessageUpdated) -> None:
        """`message_updated` to the sockets that joined."""
        self._sio.emit_now(
            ServerEvent.MESSAGE_UPDATED,
            {"message": protocol.encoded(updated)},
            room=conversation_room(updated.conversation.id),
            skip_sid=self._blind(updated.conversation, updated.message.seq),
        )

    def people_changed(self, changed: PeopleChanged) -> None:
        """The message, and `participants_changed` beside it, to the sockets that joined; `conversation_updated` to all
        participants' sockets, and before it `conversation_created` to those of who was added."""
        conversation, message = changed.conversation, changed.message
        added = [user_id for user_id in changed.added if conversation.has(user_id)]
        if added:
            listed = conversation.participant_ids[: self._listed_participants or None]
            people = {user_id: changed.people[user_id] for user_id in listed if user_id in changed.people}
            self.conversation_created(ConversationCreated(conversation, people), added)
        room = conversation_room(conversation.id)
        blind = self._blind(conversation, message.seq)
        created = {"message": protocol.encoded(changed)}
        self._sio.emit_now(ServerEvent.MESSAGE_CREATED, created, room=room, skip_sid=blind)
        if changed.added or changed.removed or changed.roles:
            newcomers = {user_id: changed.people[user_id] for user_id in changed.added if user_id in changed.people}
            profiles = fit_profiles(newcomers, self._outbox_bytes).items
            people_changed = protocol.dump_people_changed(changed, profiles)
            self._sio.emit_now(ServerEvent.PARTICIPANTS_CHANGED, people_changed, room=room, skip_sid=blind)
        self.conversation_updated(ConversationUpdated(conversation), changed.activity_at_ms)

    def conversation_removed(self, conversation_id: ConversationId, user_id: UserId, reason: str) -> None:
        """`conversation_removed` to all sockets of one who does not take part any more."""
        self._sio.emit_now(
            ServerEvent.CONVERSATION_REMOVED,
            {"conversationId": conversation_id, "reason": reason},
            room=user_room(user_id),
        )

    def _blind(self, conversation: Conversation, seq: int) -> set[str] | None:
        """The sockets of those who may not see a message; None for nobody."""
        users = conversation.blind_to(seq)
        return {connection.sid for user_id in users for connection in self._sessions.of_user(user_id)} or None

    def conversation_created(self, created: ConversationCreated, added: Sequence[UserId] | None = None) -> None:
        """`conversation_created` to all participants' sockets; or to those of who was added."""
        conversation = created.conversation
        self._sio.emit_now(
            ServerEvent.CONVERSATION_CREATED,
            {
                "conversation": protocol.dump_conversation(conversation, listed=self._listed_participants),
                "profiles": fit_profiles(created.people, self._outbox_bytes).items,
            },
            room=[user_room(user_id) for user_id in (conversation.participant_ids if added is None else added)],
        )

    def conversation_updated(self, updated: ConversationUpdated, activity_at_ms: int | None = None) -> None:
        """`conversation_updated` to all participants' sockets, joined or not: a look at each user who is connected, as
        a new message costs. Who may not see all messages that it is about is told of the others, and of the
        conversation. It is encoded once for each kind of receiver.

        Args:
            activity_at_ms: the conversation's new place in lists; None if that is the old one.
        """
        conversation = updated.conversation
        elsewhere, _ = self._sessions.around(conversation.id, conversation.participant_ids)
        room = [conversation_room(conversation.id), *(connection.sid for connection in elsewhere)]
        blind = [(seq, self._blind(conversation, seq) or set()) for seq in updated.about()]
        self._tell_lists(updated, activity_at_ms, room, blind[0][1] if blind else set())
        told: set[str] = set()
        for seq, sids in reversed(blind):  # who may not see the newest of them may see none
            if sids > told:
                self._tell_lists(visible.updated(updated, seq + 1), activity_at_ms, sorted(sids - told), set())
            told = sids

    def _tell_lists(
        self, updated: ConversationUpdated, activity_at_ms: int | None, room: list[str], skip: set[str]
    ) -> None:
        wire = {
            **protocol.dump_conversation_updated(updated, listed=self._listed_participants),
            **_sender(updated.conversation, updated.sender, self._listed_participants),
        }
        if activity_at_ms is not None:
            wire["activityAt"] = activity_at_ms
        self._sio.emit_now(ServerEvent.CONVERSATION_UPDATED, wire, room=room, skip_sid=skip or None)

    def messages_read(self, read: MessagesRead) -> None:
        """`messages_read` to the sockets that joined, and to the reader's own (for the unread counts)."""
        conversation, mark = read.conversation, read.mark
        rooms = [user_room(mark.user_id)]
        if self.is_small(conversation):
            rooms.append(conversation_room(conversation.id))
        self._sio.emit_now(ServerEvent.MESSAGES_READ, protocol.dump_messages_read(conversation.id, mark), room=rooms)

    def settings_changed(self, changed: SettingsChanged) -> None:
        """`settings_changed` to the user's own sockets, the one that asked too."""
        self._sio.emit_now(
            ServerEvent.SETTINGS_CHANGED,
            {
                "conversationId": changed.conversation_id,
                "settings": protocol.dump_settings(changed.settings),
            },
            room=user_room(changed.user_id),
        )

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
        room = watch_room(user_id)
        if self._sio.is_heard(room):
            presence = protocol.dump_presence(user_id, online, last_seen_ms)
            self._sio.emit_now(ServerEvent.PRESENCE_CHANGED, presence, room=room)

    def presence_to(self, connections: Sequence[Connection], presence: PresenceWire) -> None:
        """`presence_changed` to sockets that begin to watch the user without having asked."""
        self._sio.emit_now(ServerEvent.PRESENCE_CHANGED, presence, room=[each.sid for each in connections])

    def profile_changed(self, changed: ProfileChanged) -> None:
        """`profile_changed` to the sockets that watch the user, and to the user's own, if there are several: a single
        one has told it."""
        user_id = changed.profile.user_id
        rooms = [watch_room(user_id)] if self._sio.is_heard(watch_room(user_id)) else []
        if len(self._sessions.of_user(user_id)) > 1:
            rooms.append(user_room(user_id))
        if rooms:
            self._sio.emit_now(ServerEvent.PROFILE_CHANGED, protocol.dump_profile(user_id, changed.profile), room=rooms)

    def profile_to(self, connections: Sequence[Connection], profile: ProfileWire) -> None:
        """`profile_changed` to sockets that begin to watch the user without having asked."""
        self._sio.emit_now(ServerEvent.PROFILE_CHANGED, profile, room=[each.sid for each in connections])

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

    def joined(self, conversation_id: ConversationId) -> list[Connection]:
        """The sockets that have joined a conversation."""
        found = (
            self._sessions.known(sid)
            for sid, _ in self._sio.manager.get_participants("/", conversation_room(conversation_id))
        )
        return [connection for connection in found if connection is not None]

    def leave_now(self, connection: Connection, room: str) -> None:
        """Take a socket out of a room, at once."""
        self._sio.manager.basic_leave_room(connection.sid, "/", room)

    async def enter(self, connection: Connection, room: str) -> None:
        """Put a socket into a room."""
        await self._sio.enter_room(connection.sid, room)

    async def leave(self, connection: Connection, room: str) -> None:
        """Take a socket out of a room."""
        await self._sio.leave_room(connection.sid, room)


def _sender(conversation: Conversation, sender: Profile | None, told: int) -> dict[str, ProfileWire]:
    """How a sender is shown, where a conversation has more participants than its readers have been told of."""
    if sender is None or not 0 < told < conversation.participant_count:
        return {}
    return {"sender": protocol.dump_profile(sender.user_id, sender)}
