"""The conversations that sockets have open: joining and leaving them, looking at them, typing in them.

What a socket has open is on its Connection; the rooms, the watches, typing and automatic reading follow from here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..chat.conversations import JoinConversation
from ..chat.domain import Clock, Conversation, ConversationId, ReadMark, UserId
from ..chat.own_settings import OwnSettings
from ..chat.reading import MarkRead
from ..chat.service import Chat
from ..errors import LimitExceeded, NotJoined
from ..store.results import Snapshot
from ..values import MAX_SAFE_INTEGER
from ..wire.protocol import ParticipantWire
from .auto_read import AutoRead
from .connections import Connection
from .fanout import Fanout, conversation_room
from .typing_indicator import Typing, TypingIndicator
from .watching import Watching


@dataclass(frozen=True, slots=True)
class Joined:
    """What somebody finds who joins a conversation.

    Attributes:
        snapshot: the conversation at a moment after the socket began to hear of it.
        read: the user's own read mark, after what is looked at has been marked as read.
        settings: the user's own, after that.
        participants: those whose marks the snapshot has, with their presence.
        typists: who else types.
    """

    conversation: Conversation
    snapshot: Snapshot
    read: ReadMark
    settings: OwnSettings
    participants: list[ParticipantWire]
    typists: list[UserId]


class Opened:
    """What sockets have open.

    Args:
        most: how many conversations one socket may have open; 0 for any number.
    """

    def __init__(
        self,
        chat: Chat,
        fanout: Fanout,
        watching: Watching,
        typing: TypingIndicator,
        auto_read: AutoRead,
        clock: Clock,
        *,
        most: int,
    ) -> None:
        self._chat = chat
        self._fanout = fanout
        self._watching = watching
        self._typing = typing
        self._auto_read = auto_read
        self._clock = clock
        self._most = most

    async def join(self, connection: Connection, user_id: UserId, command: JoinConversation) -> Joined:
        """Open a conversation, or open it anew.

        Raises: ConversationNotFound; LimitExceeded; StoreUnavailable; Overloaded.
        Source: docs/protocol.md#join_conversation
        """
        conversation = await self._chat.conversations.get(user_id, command.conversation_id)
        # First into the room, then the snapshot: what is stored in between arrives twice, rather than not at all.
        joining = conversation.id not in connection.joined
        if joining:
            if self._most and len(connection.joined) >= self._most:
                raise LimitExceeded(f"A socket may join at most {self._most} conversations; leave one.")
            await self._fanout.enter(connection, conversation_room(conversation.id))
        self._show(connection, user_id, conversation.id, command.visible)
        try:
            snapshot = await self._chat.conversations.snapshot(user_id, command)
            read, settings = await self._read(connection, user_id, snapshot, command.visible)
            # People and title not older than the messages, one of which may tell of them.
            conversation = await self._chat.conversations.get(user_id, command.conversation_id)
        except BaseException:
            if joining:
                await self._close(connection, conversation.id)
            raise
        marks = [read if mark.user_id == user_id else mark for mark in snapshot.read_marks]
        people = await self._watching.participants(connection, user_id, conversation, marks, again=not joining)
        await self._watching.take_part(conversation, user_id)
        typists = [typist for typist in self._typing.users(conversation.id) if typist != user_id]
        return Joined(conversation, snapshot, read, settings, people, typists)

    async def _read(
        self, connection: Connection, user_id: UserId, snapshot: Snapshot, visible: bool
    ) -> tuple[ReadMark, OwnSettings]:
        """The user's read mark and settings: read to the end if the user is looking."""
        read = next(mark for mark in snapshot.read_marks if mark.user_id == user_id)
        settings = snapshot.settings
        unread = read.read_seq < snapshot.last_seq or settings.marked_unread
        if visible and unread and self._fanout.reaches(connection):
            seen = MarkRead(snapshot.conversation.id, snapshot.last_seq)
            read = (await self._chat.reading.mark(user_id, seen)).mark
            settings = replace(settings, marked_unread=False)
        return read, settings

    async def leave(self, connection: Connection, user_id: UserId, conversation_id: ConversationId) -> None:
        """Close a conversation; one that is not open is left as it is.

        Raises: ConversationNotFound; StoreUnavailable.
        """
        conversation = await self._chat.conversations.get(user_id, conversation_id)
        if conversation.id in connection.joined:
            self._watching.leave(connection, conversation)
            await self._close(connection, conversation.id)

    async def set_typing(
        self, connection: Connection, user_id: UserId, conversation_id: ConversationId, typing: bool
    ) -> None:
        """The user types in an open conversation, or has stopped.

        Raises: ConversationNotFound; NotJoined; StoreUnavailable.
        """
        conversation = await self._get(connection, user_id, conversation_id)
        if not typing:
            self.stop_typing(connection, user_id, conversation.id)
        elif (
            self._fanout.is_small(conversation)
            and self._fanout.reaches(connection)
            and self._typing.start(Typing(conversation.id, user_id, connection.sid), self._clock.monotonic_s())
        ):
            self._fanout.typing(conversation.id, user_id, True, sid=connection.sid)

    async def set_visible(
        self, connection: Connection, user_id: UserId, conversation_id: ConversationId, visible: bool
    ) -> None:
        """The user looks at an open conversation, or away; what is looked at is read.

        Raises: ConversationNotFound; NotJoined; StoreUnavailable; Overloaded.
        """
        conversation = await self._get(connection, user_id, conversation_id)
        self._show(connection, user_id, conversation.id, visible)
        if visible:
            self._watching.look(connection, conversation)
        if visible and self._fanout.reaches(connection):  # whatever is there by now is being looked at
            await self._chat.reading.mark(user_id, MarkRead(conversation.id, MAX_SAFE_INTEGER))

    async def take_part(self, user_id: UserId, conversation_id: ConversationId) -> None:
        """The user has written or read in a conversation."""
        if not self._watching.knows(conversation_id, user_id):
            conversation = await self._chat.conversations.get(user_id, conversation_id)
            await self._watching.take_part(conversation, user_id)

    def stop_typing(self, connection: Connection, user_id: UserId, conversation_id: ConversationId) -> None:
        """The user does not type there any more, on this socket."""
        if self._typing.stop(Typing(conversation_id, user_id, connection.sid)):
            self._fanout.typing(conversation_id, user_id, False, sid=connection.sid)

    async def _get(self, connection: Connection, user_id: UserId, conversation_id: ConversationId) -> Conversation:
        conversation = await self._chat.conversations.get(user_id, conversation_id)
        if conversation_id not in connection.joined:
            raise NotJoined
        return conversation

    def _show(self, connection: Connection, user_id: UserId, conversation_id: ConversationId, visible: bool) -> None:
        """Note whether the user looks at the conversation on this socket. Who looks away does not type there either."""
        looked = connection.joined.get(conversation_id, False)
        connection.joined[conversation_id] = visible
        if looked and not visible:
            self._auto_read.looked_away(conversation_id, user_id)
            self.stop_typing(connection, user_id, conversation_id)

    async def _close(self, connection: Connection, conversation_id: ConversationId) -> None:
        if connection.identity is not None:
            user_id = connection.identity.user_id
            self._show(connection, user_id, conversation_id, False)
            self.stop_typing(connection, user_id, conversation_id)
        connection.joined.pop(conversation_id, None)  # who was removed is out of it already
        await self._fanout.leave(connection, conversation_room(conversation_id))
