"""Changes of a conversation itself: who takes part, in which role, its title and metadata: the use cases."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from ..errors import (
    ChatError,
    ConversationNotFound,
    Forbidden,
    IdempotencyConflict,
    InvalidPayload,
    LimitExceeded,
    RateLimited,
)
from ..limits import Buckets, in_ms
from ..store.base import Store
from ..store.results import Reformed
from .activity import Activity
from .changes import Outcome
from .conversations import PARTICIPANTS_PER_TOKEN, Conversations
from .domain import Clock, Conversation, ConversationId, MessageId, Role, UserId, new_id
from .lanes import Lanes, Slot
from .news import ConversationUpdated, PeopleChanged, Receiver
from .people import (
    UNSET,
    AddPeople,
    ConversationChange,
    PeopleRules,
    RemovePerson,
    SetRole,
    Unset,
    Update,
    system_key,
)
from .profiles import People, Profiles


@dataclass(frozen=True, slots=True)
class AddParticipants:
    """Attributes: history: whether they may see what was written before."""

    conversation_id: ConversationId
    user_ids: tuple[UserId, ...]
    history: Literal["all", "none"]
    idempotency_key: str
    role: Role = "member"


@dataclass(frozen=True, slots=True)
class RemoveParticipant:
    """Attributes: user_id: who is to go; oneself leaves for good."""

    conversation_id: ConversationId
    user_id: UserId
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class SetParticipantRole:
    """Attributes: user_id: who gets the role."""

    conversation_id: ConversationId
    user_id: UserId
    role: Role


@dataclass(frozen=True, slots=True)
class UpdateConversation:
    """Attributes: title, metadata: None for none from now on, UNSET for what stays as it is."""

    conversation_id: ConversationId
    title: str | Unset | None = UNSET
    metadata: dict[str, Any] | Unset | None = UNSET
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class ConversationChanged:
    """What came of it.

    Attributes:
        conversation: as it is now.
        news: of the message that says so; None where nothing was done, or there is none.
        duplicate: it was so before.
    """

    conversation: Conversation
    news: PeopleChanged | None
    duplicate: bool


class Members:
    """The use cases of people and titles.

    Args:
        profiles: how people are shown.
        lanes: take the messages that say so, to be announced in their order.
        receiver: told of what has no number.
        additions, others: at which rates each user may add people, more of them cost more; and do the rest.
    """

    def __init__(
        self,
        store: Store,
        conversations: Conversations,
        profiles: Profiles,
        lanes: Lanes,
        receiver: Receiver,
        clock: Clock,
        activity: Activity,
        rules: PeopleRules,
        *,
        additions: Buckets[UserId],
        others: Buckets[UserId],
    ) -> None:
        self._store = store
        self._conversations = conversations
        self._profiles = profiles
        self._lanes = lanes
        self._receiver = receiver
        self._clock = clock
        self._activity = activity
        self._rules = rules
        self._additions = additions
        self._others = others
        self._running: set[asyncio.Task[ConversationChanged]] = set()

    async def add(self, user_id: UserId, command: AddParticipants) -> ConversationChanged:
        """Add people to a group.

        Announces: PeopleChanged, for a repeat too.
        Raises: ConversationNotFound; RateLimited; Forbidden; LimitExceeded; IdempotencyConflict; StoreUnavailable;
            Overloaded.
        Source: docs/protocol.md#add_participants
        """
        cost = math.ceil(len(command.user_ids) / PARTICIPANTS_PER_TOKEN)
        act = await self._admit(user_id, command.conversation_id, command.idempotency_key, self._additions, cost)
        add = AddPeople(**act, user_ids=command.user_ids, role=command.role, history=command.history)
        return await self._do(add, self._additions, cost)

    async def remove(self, user_id: UserId, command: RemoveParticipant) -> ConversationChanged:
        """Remove somebody from a group, or leave it for good; an owner who is the last one hands over.

        Announces: PeopleKnown, and PeopleChanged, for a repeat too.
        Raises: as `add`.
        Source: docs/protocol.md#remove_participant
        """
        act = await self._admit(user_id, command.conversation_id, command.idempotency_key, self._others, 1)
        return await self._do(RemovePerson(**act, person=command.user_id), self._others, 1)

    async def set_role(self, user_id: UserId, command: SetParticipantRole) -> ConversationChanged:
        """Give a participant of a group a role.

        Announces: PeopleChanged.
        Raises: as `add`; InvalidPayload for somebody who does not take part.
        Source: docs/protocol.md#set_role
        """
        act = await self._admit(user_id, command.conversation_id, None, self._others, 1)
        return await self._do(SetRole(**act, person=command.user_id, role=command.role), self._others, 1)

    async def update(self, user_id: UserId, command: UpdateConversation) -> ConversationChanged:
        """Change a group's title, or a conversation's metadata.

        Announces: PeopleChanged for a title; ConversationUpdated for metadata alone.
        Raises: as `add`.
        Source: docs/protocol.md#update_conversation
        """
        act = await self._admit(user_id, command.conversation_id, command.idempotency_key, self._others, 1)
        return await self._do(Update(**act, title=command.title, metadata=command.metadata), self._others, 1)

    async def close(self) -> None:
        """Wait until every change is done and announced, also those whose caller went away."""
        while self._running:
            await asyncio.wait(tuple(self._running))

    async def _admit(
        self,
        user_id: UserId,
        conversation_id: ConversationId,
        idempotency_key: str | None,
        rates: Buckets[UserId],
        cost: float,
    ) -> dict[str, Any]:
        """What every change has, for a user who takes part and may do something now."""
        await self._conversations.get(user_id, conversation_id)
        now_s = self._clock.monotonic_s()
        bucket = rates.get(user_id, now_s)
        if wait_s := bucket.take(now_s, min(bucket.burst, cost)):
            raise RateLimited(retry_after_ms=in_ms(wait_s))
        await self._activity.start()
        message_id = MessageId(new_id())
        return {
            "conversation_id": conversation_id,
            "user_id": user_id,
            "key": system_key(idempotency_key, message_id),
            "message_id": message_id,
            "at_ms": self._clock.now_ms(),
            "activity_at_ms": self._activity.next_ms(),
            "rules": self._rules,
        }

    async def _do(self, change: ConversationChange, rates: Buckets[UserId], cost: float) -> ConversationChanged:
        # To its end, whatever becomes of who asked for it: what is stored must be known here at once.
        task = asyncio.get_running_loop().create_task(self._carry(change))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        changed = await asyncio.shield(task)
        if changed.duplicate:
            bucket = rates.get(change.user_id, self._clock.monotonic_s())
            bucket.give_back(min(bucket.burst, cost))
        return changed

    async def _carry(self, change: ConversationChange) -> ConversationChanged:
        slots: list[Slot] = []
        news: PeopleChanged | None = None
        try:
            reformed = await self._reform(change, slots)
            # First who takes part is known, and who does not any more is shut out; then what is said of it.
            conversation = self._know(reformed, change)
            duplicate = _is_repeat(reformed)
            people = await self._people(conversation, reformed.added)
            if reformed.message is not None:
                news = PeopleChanged(
                    conversation,
                    reformed.message,
                    reformed.added,
                    reformed.removed,
                    reformed.roles,
                    None if duplicate else change.activity_at_ms,
                    duplicate,
                    people,
                )
            elif not duplicate:
                self._receiver.receive(ConversationUpdated(conversation))
        finally:
            for slot in slots:
                self._lanes.settle(change.conversation_id, slot, news)
        if news is not None and not slots:
            self._receiver.receive(news)
        return ConversationChanged(conversation, news, duplicate)

    async def _reform(self, change: ConversationChange, slots: list[Slot]) -> Reformed:
        conversation_id = change.conversation_id
        try:
            return await self._store.change_conversation(
                change, lambda: slots.append(self._lanes.enter(conversation_id))
            )
        except BaseException:
            self._conversations.doubt(conversation_id)  # it may be done
            raise

    def _know(self, reformed: Reformed, change: ConversationChange) -> Conversation:
        left = change.user_id if isinstance(change, RemovePerson) and change.person == change.user_id else None
        self._lanes.reform(reformed.conversation)
        return self._conversations.know(reformed.conversation, reformed.removed, left)

    async def _people(self, conversation: Conversation, added: tuple[UserId, ...]) -> People:
        """How those are shown whom `conversation_created` names to new ones, `participants_changed` to the others."""
        return await self._profiles.find((*self._conversations.listed(conversation), *added)) if added else {}


_REFUSALS: Final[Mapping[Outcome, type[ChatError]]] = {
    Outcome.NOT_FOUND: ConversationNotFound,
    Outcome.KEY_CONFLICT: IdempotencyConflict,
}


def _is_repeat(reformed: Reformed) -> bool:
    """Whether it was so before. Raises: what says why it was not done."""
    outcome = reformed.outcome
    if outcome is Outcome.FORBIDDEN:
        raise Forbidden("Your role in this conversation does not allow that.")
    if outcome is Outcome.TOO_MANY:
        raise LimitExceeded("No more people may take part in this conversation.")
    if outcome is Outcome.STRANGER:
        raise InvalidPayload(fields={"userId": ["Does not take part in the conversation."]})
    if outcome in _REFUSALS:
        raise _REFUSALS[outcome]
    return outcome is not Outcome.DONE
