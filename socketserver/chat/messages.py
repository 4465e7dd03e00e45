"""Messages: sending one, at most once per idempotency key, and reading what was sent."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

from ..errors import ChatError, RateLimited
from ..limits import Buckets, in_ms
from ..store.base import MessagePage, Store
from .activity import Activity
from .conversations import Conversations
from .domain import Clock, Conversation, ConversationId, MessageDraft, MessageId, UserId, new_id
from .lanes import Lanes, Slot
from .news import MessageCreated, Receiver
from .profiles import Profiles

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SendMessage:
    """Attributes: idempotency_key: the sender's name for the message. metadata: a JSON object; None for none."""

    conversation_id: ConversationId
    idempotency_key: str
    body: str
    metadata: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class FetchHistory:
    """At most one of `before_seq` and `after_seq` is set; with neither, the newest page."""

    conversation_id: ConversationId
    limit: int
    before_seq: int | None = None
    after_seq: int | None = None


class Messages:
    """The use cases of messages.

    Args:
        profiles: how senders are shown.
        receiver: told of every message that is stored.
        rates: each user's message rate.
    """

    def __init__(
        self,
        store: Store,
        conversations: Conversations,
        profiles: Profiles,
        receiver: Receiver,
        clock: Clock,
        activity: Activity,
        rates: Buckets[UserId],
    ) -> None:
        self._store = store
        self._conversations = conversations
        self._profiles = profiles
        self._clock = clock
        self._activity = activity
        self._rates = rates
        self._lanes = Lanes(receiver)
        self._orphans: set[asyncio.Task[None]] = set()

    async def send(self, user_id: UserId, command: SendMessage, received_s: float = 0.0) -> MessageCreated:
        """Store one message, at most once per idempotency key, and announce it to the conversation.

        Args:
            received_s: when it came; only handed on with the news.
        Returns: the news of it; a repeat is the first message again.
        Announces: MessageCreated, for a repeat too (it covers a crash between the write and the fan-out).
        Raises: ConversationNotFound; RateLimited; IdempotencyConflict; StoreUnavailable (try again with the same key);
            Overloaded.
        Source: docs/protocol.md#send_message
        """
        conversation = await self._conversations.get(user_id, command.conversation_id)
        now_s = self._clock.monotonic_s()
        bucket = self._rates.get(user_id, now_s)
        if wait_s := bucket.take(now_s):
            raise RateLimited(retry_after_ms=in_ms(wait_s))
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
        slot = self._lanes.enter(conversation.id)
        try:
            appended = await self._store.append_message(draft)
        except asyncio.CancelledError:
            # Nobody waits for the answer any more, but the message may be stored, and then the others must see it.
            task = asyncio.get_running_loop().create_task(self._finish(conversation, slot, draft, received_s))
            self._orphans.add(task)
            task.add_done_callback(self._orphans.discard)
            raise
        except BaseException:
            self._lanes.settle(conversation.id, slot, None)
            raise
        if appended.duplicate:
            bucket.give_back()
        sender = self._profiles.peek(user_id)
        created = MessageCreated(conversation, appended.message, appended.duplicate, received_s, sender)
        self._lanes.settle(conversation.id, slot, created)
        return created

    async def history(self, user_id: UserId, command: FetchHistory) -> MessagePage:
        """A page of messages in seq order.

        Raises: ConversationNotFound; StoreUnavailable.
        Source: docs/protocol.md#fetch_history
        """
        await self._conversations.get(user_id, command.conversation_id)
        return await self._store.list_messages(
            command.conversation_id,
            before_seq=command.before_seq,
            after_seq=command.after_seq,
            limit=command.limit,
        )

    async def close(self) -> None:
        """Wait until every message whose sender went away is announced."""
        while self._orphans:
            # Not gather: from Python 3.12 on it returns without a turn of the loop when all are done, and what takes
            # them out of the set would never get its turn.
            await asyncio.wait(tuple(self._orphans))

    async def _finish(self, conversation: Conversation, slot: Slot, draft: MessageDraft, received_s: float) -> None:
        # The same append again tells whether the first one was stored, and stores it if not.
        created: MessageCreated | None = None
        try:
            appended = await self._store.append_message(draft)
            created = MessageCreated(conversation, appended.message, False, received_s)  # nobody was told yet
        except ChatError as error:
            log.warning("a message whose sender went away was not stored: %s", error.code)
        except Exception:  # a bug; it must not keep `close` from waiting for the others
            log.exception("a message whose sender went away was not stored")
        finally:
            self._lanes.settle(conversation.id, slot, created)
