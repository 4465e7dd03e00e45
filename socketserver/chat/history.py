"""Pages of what was sent and what changed, as far as a participant may see it."""

from __future__ import annotations

from dataclasses import dataclass

from ..store.base import Store
from ..store.results import ChangePage, MessagePage
from . import visible
from .conversations import Conversations
from .domain import ConversationId, Message, UserId


@dataclass(frozen=True, slots=True)
class FetchChanges:
    """Attributes: after: the change up to which the client knows everything."""

    conversation_id: ConversationId
    after: int
    limit: int


@dataclass(frozen=True, slots=True)
class FetchMessages:
    """Attributes: seqs: of the messages."""

    conversation_id: ConversationId
    seqs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class FetchHistory:
    """At most one of `before_seq` and `after_seq` is set; with neither, the newest page."""

    conversation_id: ConversationId
    limit: int
    before_seq: int | None = None
    after_seq: int | None = None


class History:
    """The use cases of what there is in a conversation."""

    def __init__(self, store: Store, conversations: Conversations) -> None:
        self._store = store
        self._conversations = conversations

    async def changes(self, user_id: UserId, command: FetchChanges) -> ChangePage:
        """A page of the messages that were created or changed after a change, in the order of `change`.

        Raises: ConversationNotFound; StoreUnavailable.
        Source: docs/protocol.md#fetch_changes
        """
        first_seq = await self._first_seq(user_id, command.conversation_id)
        page = await self._store.list_changes(command.conversation_id, after=command.after, limit=command.limit)
        return visible.changes(page, first_seq)

    async def some(self, user_id: UserId, command: FetchMessages) -> tuple[Message, ...]:
        """The messages with some seqs, those that exist, in seq order.

        Raises: ConversationNotFound; StoreUnavailable.
        Source: docs/protocol.md#fetch_messages
        """
        first_seq = await self._first_seq(user_id, command.conversation_id)
        return visible.messages(await self._store.get_messages(command.conversation_id, command.seqs), first_seq)

    async def page(self, user_id: UserId, command: FetchHistory) -> MessagePage:
        """A page of messages in seq order.

        Raises: ConversationNotFound; StoreUnavailable.
        Source: docs/protocol.md#fetch_history
        """
        first_seq = await self._first_seq(user_id, command.conversation_id)
        after_seq = command.after_seq
        page = await self._store.list_messages(
            command.conversation_id,
            before_seq=command.before_seq,
            after_seq=None if after_seq is None else max(after_seq, first_seq - 1),
            limit=command.limit,
        )
        return visible.page(page, first_seq)

    async def _first_seq(self, user_id: UserId, conversation_id: ConversationId) -> int:
        return (await self._conversations.get(user_id, conversation_id)).entry(user_id).first_seq
