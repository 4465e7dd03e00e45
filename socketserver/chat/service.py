"""The use cases of a chat: who may do what, what gets stored, who is told.

Knows no socket, room, wire name or driver: it is given user ids and commands, works on the Store, and announces through
the Announcer. Every method checks that the user takes part in the conversation; somebody who does not cannot tell a
conversation that exists from one that does not.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from ..errors import ChatError, ConversationNotFound, InvalidPayload, RateLimited
from ..limits import Buckets
from ..store.base import Appended, ConversationPage, Created, MessagePage, ReadAdvance, ReadMarkPage, Snapshot, Store
from .activity import Activity
from .conversation_cache import ConversationCache
from .domain import (
    Clock,
    Conversation,
    ConversationDraft,
    ConversationId,
    CreateConversation,
    FetchHistory,
    JoinConversation,
    ListConversations,
    ListParticipants,
    MarkRead,
    Message,
    MessageDraft,
    MessageId,
    ReadMark,
    SendMessage,
    UserId,
    conversation_dedupe_key,
    conversation_kind,
    new_id,
    participants,
)

log = logging.getLogger(__name__)

# A conversation is a row for each participant and an event to each: so many cost as much as one small conversation.
_PARTICIPANTS_PER_TOKEN: Final = 50


class Announcer(Protocol):
    """Tells those who are connected what has happened. Never waits, never fails, promises nothing: what is announced
    is stored already, and whoever misses it finds it in the store."""

    def message_created(self, conversation: Conversation, message: Message) -> None:
        """A message is stored. Called in seq order for a conversation's new messages; a repeat may come again."""

    def conversation_created(self, conversation: Conversation) -> None:
        """A conversation is stored."""

    def messages_read(self, conversation: Conversation, mark: ReadMark) -> None:
        """A participant's read mark moved."""


class _Slot:
    """A message's place in its conversation's lane, from the call to the announcement.

    Attributes:
        received_s: when the message came; None for one that is announced a second time.
    """

    __slots__ = ("done", "message", "received_s")

    def __init__(self, received_s: float | None) -> None:
        self.received_s = received_s
        self.done = False
        self.message: Message | None = None


class ChatService:
    """The use cases.

    Args:
        store: opened and closed by whoever made it.
        announcer: told of everything that was stored.
        clock: the source of message times.
        max_participants: most participants of one conversation.
        messages: each user's message rate.
        conversations: at which rate each user may create conversations; large ones cost more.
        cached_conversations, cached_bytes: how many conversations' participants are kept in memory, and about how much
            memory for them; 0 bytes for no bound. They never change, so what is cached is never wrong.
        listed_participants, joined_participants: of how many participants a list, and a snapshot, tells; 0 for all.
        on_lookup: told of a user for whom a conversation had to be read that was not in memory, and of how many rows.
        on_announced: told when a new message was announced, with its `received_s`.
    """

    def __init__(
        self,
        store: Store,
        announcer: Announcer,
        clock: Clock,
        *,
        max_participants: int,
        messages: Buckets[UserId],
        conversations: Buckets[UserId],
        cached_conversations: int,
        cached_bytes: int = 0,
        listed_participants: int = 0,
        joined_participants: int = 0,
        on_lookup: Callable[[UserId, int], None] = lambda user_id, rows: None,
        on_announced: Callable[[float], None] = lambda received_s: None,
    ) -> None:
        self._store = store
        self._announcer = announcer
        self._clock = clock
        self._max_participants = max_participants
        self._messages = messages
        self._creations = conversations
        self._listed_participants = listed_participants or None
        self._joined_participants = joined_participants or None
        self._on_lookup = on_lookup
        self._on_announced = on_announced
        self._activity = Activity(store.newest_activity, clock.now_ms)
        self._conversations = ConversationCache(cached_conversations, cached_bytes)
        # Messages in flight per conversation, in the order in which they were given to the store.
        self._lanes: dict[ConversationId, deque[_Slot]] = {}
        self._orphans: set[asyncio.Task[None]] = set()

    async def conversation(self, user_id: UserId, conversation_id: ConversationId) -> Conversation:
        """A conversation in which the user takes part.

        Raises: ConversationNotFound; StoreUnavailable.
        """
        conversation = self._conversations.get(conversation_id)
        if conversation is None:
            conversation = await self._store.get_conversation(conversation_id)
            self._on_lookup(user_id, 0 if conversation is None else conversation.participant_count)
            if conversation is None:
                raise ConversationNotFound
            self._conversations.add(conversation)
        if not conversation.has(user_id):
            raise ConversationNotFound
        return conversation

    async def create_conversation(self, user_id: UserId, command: CreateConversation) -> Created:
        """Create a conversation of the user and the others named, or find the one that it repeats.

        Two people without a title have one direct conversation for ever; a group repeats if its creator used the
        idempotency key before.

        Publishes: conversation_created, unless it is a repeat.
        Raises: InvalidPayload (nobody but the user, or too many); RateLimited; IdempotencyConflict; StoreUnavailable;
            Overloaded.
        Source: docs/protocol.md#create_conversation
        """
        everybody = participants(user_id, command.participant_ids)
        if len(everybody) < 2:
            raise InvalidPayload(fields={"participantIds": ["Name at least one other participant."]})
        if self._max_participants and len(everybody) > self._max_participants:
            raise InvalidPayload(fields={"participantIds": [f"At most {self._max_participants} with yourself."]})
        now_s = self._clock.monotonic_s()
        bucket = self._creations.get(user_id, now_s)
        cost = min(bucket.burst, math.ceil(len(everybody) / _PARTICIPANTS_PER_TOKEN))
        if wait_s := bucket.take(now_s, cost):
            raise RateLimited(retry_after_ms=int(wait_s * 1000) + 1)
        await self._activity.start()
        kind = conversation_kind(everybody, command.title)
        created = await self._store.create_conversation(
            ConversationDraft(
                id=ConversationId(new_id()),
                kind=kind,
                title=command.title,
                created_by=user_id,
                participant_ids=everybody,
                created_at_ms=self._clock.now_ms(),
                dedupe_key=conversation_dedupe_key(kind, everybody, user_id, command.idempotency_key),
                activity_at_ms=self._activity.next_ms(),
            )
        )
        self._conversations.add(created.conversation)
        if created.duplicate:
            bucket.give_back(cost)
        else:
            self._announcer.conversation_created(created.conversation)
        return created

    async def list_conversations(self, user_id: UserId, command: ListConversations) -> ConversationPage:
        """A page of the user's conversations, most recent activity first.

        Raises: StoreUnavailable.
        Source: docs/protocol.md#list_conversations
        """
        page = await self._store.list_conversations(
            user_id, limit=command.limit, before=command.before, participants=self._listed_participants
        )
        if page.summaries:
            self._activity.learn(page.summaries[0].activity_at_ms)
        return page

    async def snapshot(self, user_id: UserId, command: JoinConversation) -> Snapshot:
        """The conversation as it is now: read marks of the first participants and the user, and what the user missed
        since `after`.

        To miss nothing, be listening to the conversation before this is called.

        Raises: ConversationNotFound; StoreUnavailable.
        Source: docs/protocol.md#join_conversation
        """
        await self.conversation(user_id, command.conversation_id)
        snapshot = await self._store.get_snapshot(
            command.conversation_id,
            after=command.after,
            limit=command.limit,
            reader=user_id,
            participants=self._joined_participants,
        )
        if snapshot is None:
            raise ConversationNotFound
        return snapshot

    async def send_message(self, user_id: UserId, command: SendMessage, received_s: float = 0.0) -> Appended:
        """Store one message, at most once per idempotency key, and announce it to the conversation.

        Args:
            received_s: when it came; only handed on to `on_announced`.
        Returns: the message and whether it was a repeat; a repeat is the first message again.
        Publishes: message_created, for a repeat too (it covers a crash between the write and the fan-out).
        Raises: ConversationNotFound; RateLimited; IdempotencyConflict; StoreUnavailable (try again with the same key);
            Overloaded.
        Source: docs/protocol.md#send_message
        """
        conversation = await self.conversation(user_id, command.conversation_id)
        now_s = self._clock.monotonic_s()
        bucket = self._messages.get(user_id, now_s)
        if wait_s := bucket.take(now_s):
            raise RateLimited(retry_after_ms=int(wait_s * 1000) + 1)
        if not self._activity.ready:
            await self._activity.start()
        draft = MessageDraft(
            id=MessageId(new_id()),
            conversation_id=command.conversation_id,
            sender_id=user_id,
            idempotency_key=command.idempotency_key,
            body=command.body,
            metadata=command.metadata,
            created_at_ms=self._clock.now_ms(),
            activity_at_ms=self._activity.next_ms(),
        )
        slot = _Slot(received_s)
        self._lanes.setdefault(conversation.id, deque()).append(slot)
        try:
            appended = await self._store.append_message(draft)
        except asyncio.CancelledError:
            # Nobody waits for the answer any more, but the message may be stored, and then the others must see it.
            task = asyncio.get_running_loop().create_task(self._finish(conversation, slot, draft))
            self._orphans.add(task)
            task.add_done_callback(self._orphans.discard)
            raise
        except BaseException:
            self._settle(conversation, slot, None)
            raise
        if appended.duplicate:
            bucket.give_back()
            slot.received_s = None
        self._settle(conversation, slot, appended.message)
        return appended

    async def mark_read(self, user_id: UserId, command: MarkRead) -> ReadAdvance:
        """Move the user's read mark up to `seq`, at most to the newest message, never back.

        Publishes: messages_read, if the mark moved.
        Raises: ConversationNotFound; StoreUnavailable; Overloaded.
        Source: docs/protocol.md#mark_read
        """
        conversation = await self.conversation(user_id, command.conversation_id)
        advance = await self._store.advance_read(conversation.id, user_id, command.seq, self._clock.now_ms())
        if advance.advanced:
            self._announcer.messages_read(conversation, advance.mark)
        return advance

    async def fetch_history(self, user_id: UserId, command: FetchHistory) -> MessagePage:
        """A page of messages in seq order.

        Raises: ConversationNotFound; StoreUnavailable.
        Source: docs/protocol.md#fetch_history
        """
        await self.conversation(user_id, command.conversation_id)
        return await self._store.list_messages(
            command.conversation_id,
            before_seq=command.before_seq,
            after_seq=command.after_seq,
            limit=command.limit,
        )

    async def list_participants(self, user_id: UserId, command: ListParticipants) -> ReadMarkPage:
        """A page of the participants and their read marks, in the order of user ids.

        Raises: ConversationNotFound; StoreUnavailable.
        Source: docs/protocol.md#list_participants
        """
        await self.conversation(user_id, command.conversation_id)
        return await self._store.list_read_marks(command.conversation_id, after=command.after, limit=command.limit)

    async def close(self) -> None:
        """Wait until every message whose sender went away is announced."""
        while self._orphans:
            # Not gather: from Python 3.12 on it returns without a turn of the loop when all are done, and what takes
            # them out of the set would never get its turn.
            await asyncio.wait(tuple(self._orphans))

    async def _finish(self, conversation: Conversation, slot: _Slot, draft: MessageDraft) -> None:
        # The same append again tells whether the first one was stored, and stores it if not.
        message: Message | None = None
        try:
            message = (await self._store.append_message(draft)).message
        except ChatError as error:
            log.warning("a message whose sender went away was not stored: %s", error.code)
        except Exception:  # a bug; it must not keep `close` from waiting for the others
            log.exception("a message whose sender went away was not stored")
        finally:
            self._settle(conversation, slot, message)

    def _settle(self, conversation: Conversation, slot: _Slot, message: Message | None) -> None:
        """Announce what is done at the head of the lane.

        The store numbers a conversation's messages in the order of the calls, but the callers wake up in any order;
        the lane makes the announcements follow the numbers.
        """
        slot.done = True
        slot.message = message
        lane = self._lanes[conversation.id]
        while lane and lane[0].done:
            ready = lane.popleft()
            if ready.message is not None:
                self._announcer.message_created(conversation, ready.message)
                if ready.received_s is not None:
                    self._on_announced(ready.received_s)
        if not lane:
            del self._lanes[conversation.id]
