"""What a participant settles for himself in a conversation: the use case."""

from __future__ import annotations

from dataclasses import dataclass

from ..store.base import Store
from .conversations import Conversations
from .domain import ConversationId, UserId
from .news import Receiver, SettingsChanged
from .own_settings import OwnSettings, SettingsUpdate


@dataclass(frozen=True, slots=True)
class UpdateSettings:
    """The fields are those of OwnSettings; None leaves one as it is."""

    conversation_id: ConversationId
    muted: bool | None = None
    pinned: bool | None = None
    archived: bool | None = None
    marked_unread: bool | None = None


class Personal:
    """The use case of one's own settings.

    Args:
        receiver: told of what has been settled.
    """

    def __init__(self, store: Store, conversations: Conversations, receiver: Receiver) -> None:
        self._store = store
        self._conversations = conversations
        self._receiver = receiver

    async def settle(self, user_id: UserId, command: UpdateSettings) -> OwnSettings:
        """Settle some things for oneself, and leave the others as they are.

        Announces: SettingsChanged, for what was so already too.
        Raises: ConversationNotFound; StoreUnavailable; Overloaded.
        Source: docs/protocol.md#update_settings
        """
        conversation = await self._conversations.get(user_id, command.conversation_id)
        update = SettingsUpdate(command.muted, command.pinned, command.archived, command.marked_unread)
        settings = await self._store.set_settings(conversation.id, user_id, update)
        await self._conversations.get(user_id, conversation.id)  # who was removed meanwhile hears nothing
        self._receiver.receive(SettingsChanged(conversation.id, user_id, settings))
        return settings
