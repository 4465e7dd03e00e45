"""Read marks: up to which message a participant has read."""

from __future__ import annotations

from dataclasses import dataclass

from ..store.base import Store
from ..store.results import ReadAdvance
from .conversations import Conversations
from .domain import Clock, ConversationId, UserId
from .news import MessagesRead, Receiver, SettingsChanged


@dataclass(frozen=True, slots=True)
class MarkRead:
    """Attributes: seq: up to which message; more than there are means all."""

    conversation_id: ConversationId
    seq: int


class Reading:
    """The use case of reading.

    Args:
        receiver: told of every read mark that moves, and of what is marked as unread no more.
    """

    def __init__(self, store: Store, conversations: Conversations, receiver: Receiver, clock: Clock) -> None:
        self._store = store
        self._conversations = conversations
        self._receiver = receiver
        self._clock = clock

    async def mark(self, user_id: UserId, command: MarkRead) -> ReadAdvance:
        """Move the user's read mark up to `seq`, at most to the newest message, never back.

        Announces: MessagesRead, if the mark moved; SettingsChanged, if the conversation was marked as unread.
        Raises: ConversationNotFound; StoreUnavailable; Overloaded.
        Source: docs/protocol.md#mark_read
        """
        conversation = await self._conversations.get(user_id, command.conversation_id)
        advance = await self._store.advance_read(conversation.id, user_id, command.seq, self._clock.now_ms())
        # Who was removed meanwhile hears nothing of it.
        conversation = await self._conversations.get(user_id, conversation.id)
        if advance.advanced:
            self._receiver.receive(MessagesRead(conversation, advance.mark))
        if advance.unmarked is not None:
            self._receiver.receive(SettingsChanged(conversation.id, user_id, advance.unmarked))
        return advance
