"""Conversations: who may see one, creating them, a user's list, what a conversation is like now, who takes part.

Somebody who does not take part in a conversation cannot tell one that exists from one that does not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ..errors import ConversationNotFound, InvalidPayload, RateLimited
from ..limits import Buckets, in_ms
from ..store.base import Store
from ..store.results import ConversationPage, ReadMarkPage, Snapshot
from . import visible
from .activity import Activity
from .conversation_cache import ConversationCache
from .domain import (
    Clock,
    Conversation,
    ConversationDraft,
    ConversationId,
    UserId,
    conversation_kind,
    new_id,
    participants,
)
from .news import ConversationCreated, PeopleKnown, Receiver
from .profiles import People, Profiles
from .repeats import conversation_dedupe_key

# Participants whose conversation costs one token: a conversation is a row for each of them, and an event to each.
PARTICIPANTS_PER_TOKEN: Final = 50


@dataclass(frozen=True, slots=True)
class CreateConversation:
    """Attributes: participant_ids: with or without the creator. title, idempotency_key: None for none."""

    participant_ids: tuple[UserId, ...]
    title: str | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class ListConversations:
    """`before` is the place after which to go on: (activity_at_ms, conversation id) of the last one seen."""

    limit: int
    before: tuple[int, ConversationId] | None = None


@dataclass(frozen=True, slots=True)
class JoinConversation:
    """`after` is the last `change` that the client has; None for a client that knows nothing yet."""

    conversation_id: ConversationId
    limit: int
    after: int | None = None
    visible: bool = False


@dataclass(frozen=True, slots=True)
class ListParticipants:
    """Those after the user id `after`, in the order of ids."""

    conversation_id: ConversationId
    limit: int
    after: UserId | None = None


@dataclass(frozen=True, slots=True)
class NewConversation:
    """What came of CreateConversation.

    Attributes:
        duplicate: it existed before.
        people: how the first of its participants are shown.
    """

    conversation: Conversation
    duplicate: bool
    people: People


class Conversations:
    """The use cases of conversations.

    Args:
        profiles: how participants are shown.
        receiver: told of every conversation that is created.
        rates: at which rate each user may create conversations; large ones cost more.
        max_participants: most participants of one conversation; 0 for any number.
        listed_participants, joined_participants: of how many participants a list, and a snapshot, tells; 0 for all.
        on_lookup: told of a user for whom a conversation had to be read that was not in memory, and of how many rows.

    Attributes:
        reforms: how often this process has come to know that somebody does not take part any more. Who compares it
            before and after something that took its time, knows whether to look again.
    """

    def __init__(
        self,
        store: Store,
        cache: ConversationCache,
        profiles: Profiles,
        receiver: Receiver,
        clock: Clock,
        activity: Activity,
        rates: Buckets[UserId],
        *,
        max_participants: int,
        listed_participants: int = 0,
        joined_participants: int = 0,
        on_lookup: Callable[[UserId, int], None] = lambda user_id, rows: None,
    ) -> None:
        self._store = store
        self._cache = cache
        self._profiles = profiles
        self._receiver = receiver
        self._clock = clock
        self._activity = activity
        self._rates = rates
        self._max_participants = max_participants
        self._listed_participants = listed_participants or None
        self._joined_participants = joined_participants or None
        self._on_lookup = on_lookup
        self.reforms = 0

    @property
    def cached(self) -> int:
        """How many conversations are kept in memory."""
        return len(self._cache)

    async def get(self, user_id: UserId, conversation_id: ConversationId) -> Conversation:
        """A conversation in which the user takes part.

        Raises: ConversationNotFound; StoreUnavailable.
        """
        conversation = self._cache.get(conversation_id, self._clock.monotonic_s())
        if conversation is None:
            conversation = await self._load(user_id, conversation_id)
        if not conversation.has(user_id):
            raise ConversationNotFound
        return conversation

    async def _load(self, user_id: UserId, conversation_id: ConversationId) -> Conversation:
        """Read a conversation that is not in memory, or was read too long ago."""
        found = await self._store.get_conversation(conversation_id)
        if self._cache.peek(conversation_id) is None:
            self._on_lookup(user_id, 0 if found is None else found.participant_count)
        if found is None:
            raise ConversationNotFound
        return self.know(found)

    def know(
        self, conversation: Conversation, removed: tuple[UserId, ...] = (), left: UserId | None = None
    ) -> Conversation:
        """A conversation was read, or has been changed. Nothing waits here: from now on it is as it is said.

        Args:
            removed: who has just been removed; left: which of them has left by themselves.
        Announces: PeopleKnown, if it is not what was known of it.
        Returns: the newest that is known.
        """
        before = self._cache.peek(conversation.id)
        kept = self._cache.add(conversation, self._clock.monotonic_s())
        if kept is conversation and (before is None or before.rev < kept.rev):
            known = () if before is None else before.participant_ids
            gone = tuple(each for each in {*known, *removed} if not kept.has(each))
            if gone:
                self.reforms += 1
            self._receiver.receive(PeopleKnown(kept, gone, left))
        return kept

    def listed(self, conversation: Conversation) -> tuple[UserId, ...]:
        """Those whom a list names."""
        return conversation.participant_ids[: self._listed_participants]

    def doubt(self, conversation_id: ConversationId) -> None:
        """It is not known what a conversation is like: look before it is used again."""
        self._cache.doubt(conversation_id)

    def shuts_out(self, user_id: UserId, conversation_id: ConversationId) -> bool:
        """Whether it is known that a user does not take part."""
        conversation = self._cache.peek(conversation_id)
        return conversation is not None and not conversation.has(user_id)

    async def create(self, user_id: UserId, command: CreateConversation) -> NewConversation:
        """Create a conversation of the user and the others named, or find the one that it repeats.

        Two people without a title have one direct conversation for ever; a group repeats if its creator used the
        idempotency key before.

        Announces: ConversationCreated, unless it is a repeat.
        Raises: InvalidPayload (nobody but the user, or too many); RateLimited; IdempotencyConflict;
            ConversationNotFound (a repeat of one that the user has left); StoreUnavailable; Overloaded.
        Source: docs/protocol.md#create_conversation
        """
        everybody = participants(user_id, command.participant_ids)
        if len(everybody) < 2:
            raise InvalidPayload(fields={"participantIds": ["Name at least one other participant."]})
        if self._max_participants and len(everybody) > self._max_participants:
            raise InvalidPayload(fields={"participantIds": [f"At most {self._max_participants} with yourself."]})
        now_s = self._clock.monotonic_s()
        bucket = self._rates.get(user_id, now_s)
        cost = min(bucket.burst, math.ceil(len(everybody) / PARTICIPANTS_PER_TOKEN))
        if wait_s := bucket.take(now_s, cost):
            raise RateLimited(retry_after_ms=in_ms(wait_s))
        await self._activity.start()
        created = await self._store.create_conversation(self._draft(user_id, everybody, command))
        if not self.know(created.conversation).has(user_id):
            raise ConversationNotFound  # the user made it once, and has left it
        people = await self._profiles.find(self.listed(created.conversation))
        if created.duplicate:
            bucket.give_back(cost)
        else:
            self._receiver.receive(ConversationCreated(created.conversation, people))
        return NewConversation(created.conversation, created.duplicate, people)

    def _draft(self, user_id: UserId, everybody: tuple[UserId, ...], command: CreateConversation) -> ConversationDraft:
        kind = conversation_kind(everybody, command.title)
        return ConversationDraft(
            id=ConversationId(new_id()),
            kind=kind,
            title=command.title,
            created_by=user_id,
            participant_ids=everybody,
            created_at_ms=self._clock.now_ms(),
            dedupe_key=conversation_dedupe_key(kind, everybody, user_id, command.idempotency_key),
            activity_at_ms=self._activity.next_ms(),
        )

    async def page(self, user_id: UserId, command: ListConversations) -> ConversationPage:
        """A page of the user's conversations, most recent activity first.

        Raises: StoreUnavailable.
        Source: docs/protocol.md#list_conversations
        """
        page = await self._store.list_conversations(
            user_id, limit=command.limit, before=command.before, participants=self._listed_participants
        )
        if page.summaries:
            self._activity.learn(page.summaries[0].activity_at_ms)
        return visible.summaries(page)

    async def snapshot(self, user_id: UserId, command: JoinConversation) -> Snapshot:
        """The conversation as it is now: read marks of the first participants and the user, and what the user missed
        since `after`.

        To miss nothing, be listening to the conversation before this is called.

        Raises: ConversationNotFound; StoreUnavailable.
        Source: docs/protocol.md#join_conversation
        """
        await self.get(user_id, command.conversation_id)
        snapshot = await self._store.get_snapshot(
            command.conversation_id,
            after=command.after,
            limit=command.limit,
            reader=user_id,
            participants=self._joined_participants,
        )
        if snapshot is None or all(mark.user_id != user_id for mark in snapshot.read_marks):
            self.doubt(command.conversation_id)
            raise ConversationNotFound
        known = self._cache.peek(command.conversation_id)
        if known is not None and known.rev < snapshot.conversation.rev:
            self.doubt(command.conversation_id)  # another process has changed it
        return visible.snapshot(snapshot, snapshot.conversation.entry(user_id).first_seq)

    async def participants(self, user_id: UserId, command: ListParticipants) -> ReadMarkPage:
        """A page of the participants and their read marks, in the order of user ids.

        Raises: ConversationNotFound; StoreUnavailable.
        Source: docs/protocol.md#list_participants
        """
        await self.get(user_id, command.conversation_id)
        return await self._store.list_read_marks(command.conversation_id, after=command.after, limit=command.limit)
