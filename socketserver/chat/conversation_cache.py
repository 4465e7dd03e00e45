"""The conversations whose participants are kept in memory, bounded in number and in bytes. Pure."""

from __future__ import annotations

import sys
from collections import OrderedDict
from typing import Final

from .domain import Conversation, ConversationId

# A conversation without its participants: the object, its texts, its places in the cache.
_FIXED_BYTES: Final = 800
_POINTER_BYTES: Final = 8


class ConversationCache:
    """What was used last, as much as may be kept; at least the newest one.

    Args:
        most: conversations.
        most_bytes: what they may take together; 0 for no bound. Reckoned as if no two shared a participant's id, so
            that it is an upper bound.
    """

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._conversations: OrderedDict[ConversationId, tuple[Conversation, int]] = OrderedDict()
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._conversations)

    def get(self, conversation_id: ConversationId) -> Conversation | None:
        """The conversation, if it is kept; it counts as used."""
        found = self._conversations.get(conversation_id)
        if found is None:
            return None
        self._conversations.move_to_end(conversation_id)
        return found[0]

    def add(self, conversation: Conversation) -> None:
        """Keep a conversation with all its participants, and forget those that were used longest ago for it."""
        replaced = self._conversations.pop(conversation.id, None)
        if replaced is not None:
            self.size_bytes -= replaced[1]
        size_bytes = _size_bytes(conversation)
        self._conversations[conversation.id] = (conversation, size_bytes)
        self.size_bytes += size_bytes
        while len(self._conversations) > 1 and self._full():
            _, (_, forgotten_bytes) = self._conversations.popitem(last=False)
            self.size_bytes -= forgotten_bytes

    def _full(self) -> bool:
        return len(self._conversations) > self._most or 0 < self._most_bytes < self.size_bytes


def _size_bytes(conversation: Conversation) -> int:
    ids = conversation.participant_ids
    return _FIXED_BYTES + _POINTER_BYTES * len(ids) + sum(map(sys.getsizeof, ids))
