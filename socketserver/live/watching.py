"""Whose presence and profile a socket is told of, and of whom it may be told.

A user's presence shows in a conversation once that user has taken part in it: created it, joined it, written or read
there. If it showed at once, anybody could learn when somebody comes and goes by starting a conversation with them. What
is stored says so of those who have written or read; that somebody has only joined is remembered here, for a while.
Source: docs/protocol.md#presence-typing-and-reading
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import Final

from ..chat.domain import Conversation, ConversationId, ReadMark, UserId
from ..chat.profiles import People
from ..wire import protocol
from ..wire.protocol import ParticipantWire, PresenceWire
from .connections import Connection, Sessions
from .fanout import Fanout, watch_room
from .presence import Presence

Part = tuple[ConversationId, UserId]

# Number of those who took part of whom it is known without a look at the store.
PARTS_KEPT: Final = 50_000


class Watching:
    """The watches of all sockets.

    Args:
        readers: those of some (conversation, user) who have written or read there: `Store.list_readers`.
        people: how users are shown: `Profiles.find`.
        most: how many users one socket may watch; 0 for any number.
    """

    def __init__(
        self,
        sessions: Sessions,
        presence: Presence,
        fanout: Fanout,
        *,
        readers: Callable[[Sequence[Part]], Awaitable[Collection[Part]]],
        people: Callable[[Iterable[UserId]], Awaitable[People]],
        most: int,
    ) -> None:
        self._sessions = sessions
        self._presence = presence
        self._fanout = fanout
        self._readers = readers
        self._people = people
        self._most = most
        self._parts: OrderedDict[Part, None] = OrderedDict()

    def knows(self, conversation_id: ConversationId, user_id: UserId) -> bool:
        """Whether it is known already that the user has taken part."""
        return (conversation_id, user_id) in self._parts

    async def take_part(self, conversation: Conversation, user_id: UserId) -> None:
        """The user has joined, written or read. From the first time on those who have the conversation open are told of
        the user's presence and profile, and so is the other side of a direct one."""
        if not self._note((conversation.id, user_id)) or not self._fanout.is_small(conversation):
            return
        direct = conversation.kind == "direct"
        begun: list[Connection] = []
        for other in conversation.participant_ids:
            for connection in list(self._sessions.of_user(other)) if other != user_id else ():
                opened = conversation.id in connection.joined
                if (opened or direct) and user_id not in connection.watched:
                    await self._watch(connection, [user_id], opened=int(opened))
                    if user_id in connection.watched:
                        begun.append(connection)
        if not begun:
            return
        people = await self._people([user_id])
        self._fanout.presence_to(begun, self._wire(user_id))
        if user_id in people:
            self._fanout.profile_to(begun, protocol.dump_profile(user_id, people[user_id]))

    async def participants(
        self,
        connection: Connection,
        user_id: UserId,
        conversation: Conversation,
        marks: Sequence[ReadMark],
        *,
        again: bool,
    ) -> list[ParticipantWire]:
        """The participants whose marks are given, with the presence of those who have taken part. If the socket has
        joined the conversation, and it is small, it watches them from now on: the newest watches of all.

        Args:
            again: whether it had joined before.
        """
        shown = {
            mark.user_id
            for mark in marks
            if mark.read_seq >= conversation.entry(mark.user_id).since
            or mark.user_id in {user_id, conversation.created_by}
            or mark.user_id in connection.watched
            or self.knows(conversation.id, mark.user_id)
        }
        if conversation.id in connection.joined and self._fanout.is_small(conversation):
            others = [mark.user_id for mark in marks if mark.user_id in shown and mark.user_id != user_id]
            await self._watch(connection, others, opened=1, again=again)
        participants = []
        for mark in marks:
            presence = self._wire(mark.user_id, shown=mark.user_id in shown)
            participants.append(
                protocol.dump_participant(
                    mark,
                    conversation.role(mark.user_id),
                    online=presence["online"],
                    last_seen_at_ms=presence["lastSeenAt"],
                )
            )
        return participants

    async def listed(
        self, connection: Connection, user_id: UserId, conversations: Iterable[Conversation]
    ) -> list[PresenceWire]:
        """Watch the other sides of the direct conversations on a page of the user's list, as far as there is room.

        Returns: their presence, if they have taken part.
        Raises: StoreUnavailable.
        """
        others = {
            conversation.id: next(each for each in conversation.participant_ids if each != user_id)
            for conversation in conversations
            if conversation.kind == "direct"
        }
        shown = {part for part in others.items() if part[1] in connection.watched or self.knows(*part)}
        shown |= {
            (conversation.id, conversation.created_by)
            for conversation in conversations
            if others.get(conversation.id) == conversation.created_by
        }
        unknown = [part for part in others.items() if part not in shown]
        if unknown:
            found = await self._readers(unknown)
            for part in found:
                self._note(part)
            # Somebody may have taken part meanwhile, and been announced: the answer must not take it back.
            shown |= {part for part in unknown if part in found or self.knows(*part)}
        # The top of the list last: of what is dropped for want of room that is the last.
        await self._watch(connection, [other for part, other in reversed(others.items()) if (part, other) in shown])
        return [self._wire(other, shown=(part, other) in shown) for part, other in others.items()]

    def look(self, connection: Connection, conversation: Conversation) -> None:
        """The user looks at a conversation that the socket has joined: its watches are the last to be dropped."""
        watched = connection.watched
        if self._fanout.is_small(conversation):
            for other in conversation.participant_ids:
                if other in watched:
                    watched[other] = watched.pop(other)

    def leave(self, connection: Connection, conversation: Conversation) -> None:
        """The socket leaves a conversation: its watches go on, but are the first to be dropped."""
        if self._fanout.is_small(conversation):
            for other in conversation.participant_ids:
                if connection.watched.get(other):
                    connection.watched[other] -= 1

    def _wire(self, user_id: UserId, *, shown: bool = True) -> PresenceWire:
        if not shown:
            return protocol.dump_presence(user_id, False, None)
        return protocol.dump_presence(user_id, self._presence.is_online(user_id), self._presence.last_seen_ms(user_id))

    def _note(self, part: Part) -> bool:
        """Remember that somebody has taken part. Returns whether that is news."""
        news = part not in self._parts
        self._parts[part] = None
        self._parts.move_to_end(part)
        if len(self._parts) > PARTS_KEPT:
            self._parts.popitem(last=False)
        return news

    async def _watch(
        self, connection: Connection, users: Iterable[UserId], *, opened: int = 0, again: bool = False
    ) -> None:
        """Begin or renew watches, and drop others to make room: first those only listed, then those of joined
        conversations; of each the one that was begun or renewed longest ago."""
        watched = connection.watched
        begun = []
        for user_id in users:
            count = watched.pop(user_id, None)
            if count is None:
                begun.append(user_id)
                watched[user_id] = opened
            else:
                watched[user_id] = count if again else count + opened
        excess = len(watched) - self._most if self._most else 0
        dropped: set[UserId] = set()
        if excess > 0:
            listed = [user_id for user_id, count in watched.items() if not count]
            joined = [user_id for user_id, count in watched.items() if count]
            dropped = set((listed + joined)[:excess])
            for user_id in dropped:
                del watched[user_id]
        for user_id in dropped.difference(begun):
            await self._fanout.leave(connection, watch_room(user_id))
        for user_id in begun:
            if user_id not in dropped:
                await self._fanout.enter(connection, watch_room(user_id))
