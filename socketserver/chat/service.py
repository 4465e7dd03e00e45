"""The use cases of a chat: who may do what, what gets stored, who is told.

They know no socket, room, wire name or driver: they are given user ids and commands, work on the Store, and tell a
Receiver of what has happened. Each of them checks that the user takes part in the conversation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..limits import Buckets
from ..store.base import Store
from .activity import Activity
from .conversation_cache import ConversationCache
from .conversations import Conversations
from .domain import Clock, UserId
from .history import History
from .lanes import Lanes
from .members import Members
from .messages import ChangeRules, Messages
from .news import Receiver
from .people import PeopleRules
from .personal import Personal
from .profile_cache import ProfileCache
from .profiles import Profiles
from .reading import Reading


@dataclass(frozen=True, slots=True)
class Chat:
    """The use cases by subject."""

    conversations: Conversations
    messages: Messages
    history: History
    reading: Reading
    personal: Personal
    members: Members
    profiles: Profiles

    async def close(self) -> None:
        """Wait until all that is stored is announced, and until what was told of users is stored, if it can be."""
        await self.messages.close()
        await self.members.close()
        await self.profiles.close()


def make_chat(
    store: Store,
    receiver: Receiver,
    clock: Clock,
    *,
    max_participants: int,
    messages: Buckets[UserId],
    conversations: Buckets[UserId],
    cached_conversations: int,
    cached_bytes: int = 0,
    cached_s: float = 0.0,
    cached_profiles_bytes: int = 0,
    listed_participants: int = 0,
    joined_participants: int = 0,
    rules: ChangeRules | None = None,
    members_add: bool = False,
    on_lookup: Callable[[UserId, int], None] = lambda user_id, rows: None,
) -> Chat:
    """A chat over a store.

    Args:
        store: opened and closed by whoever made it.
        receiver: told of everything that was stored.
        clock: the source of message times.
        messages, conversations: at which rate each user may send messages, and create conversations.
        cached_conversations, cached_bytes, cached_s: how many conversations' participants are kept in memory, about how
            much memory for them, 0 bytes for no bound, and for how long without another look at the store, 0 for ever:
            other processes may change them.
        rules: what may be changed of a message, and for how long.
        members_add: whether members of a group, too, add people.
        cached_profiles_bytes: about how much memory for how users are shown; 0 for no bound.
        max_participants, listed_participants, joined_participants, on_lookup: as in Conversations.
    """
    activity = Activity(store.newest_activity, clock.now_ms)
    profiles = Profiles(store, receiver, clock, ProfileCache(cached_profiles_bytes))
    opened = Conversations(
        store,
        ConversationCache(cached_conversations, cached_bytes, cached_s),
        profiles,
        receiver,
        clock,
        activity,
        conversations,
        max_participants=max_participants,
        listed_participants=listed_participants,
        joined_participants=joined_participants,
        on_lookup=on_lookup,
    )
    lanes = Lanes(receiver)
    return Chat(
        opened,
        Messages(store, opened, profiles, lanes, clock, activity, messages, rules or ChangeRules()),
        History(store, opened),
        Reading(store, opened, receiver, clock),
        Personal(store, opened, receiver),
        Members(
            store,
            opened,
            profiles,
            lanes,
            receiver,
            clock,
            activity,
            PeopleRules(members_add, max_participants),
            additions=conversations,
            others=messages,
        ),
        profiles,
    )
