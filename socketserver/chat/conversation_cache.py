"""The conversations that are kept in memory with everybody in them, bounded in number, in bytes and in age. Pure.

What this process changes it replaces here at once. What another process changes shows when the copy has grown old.
"""

from __future__ import annotations

import math
import sys
from collections import OrderedDict
from typing import Final, NamedTuple

from .domain import Conversation, ConversationId

# A conversation without its participants: the object, its texts, its places in the cache.
_FIXED_BYTES: Final = 800
_POINTER_BYTES: Final = 8
_SPECIAL_BYTES: Final = 200  # a role or an entry


class _Kept(NamedTuple):
    conversation: Conversation
    size_bytes: int
    until_s: float


class ConversationCache:
    """What was used last, as much as may be kept; at least the newest one.

    Args:
        most: conversations.
        most_bytes: what they may take together; 0 for no bound. Reckoned as if no two shared a participant's id, so
            that it is an upper bound.
        most_s: for how long one is good without another look at the store; 0 for ever.
    """

    def __init__(self, most: int, most_bytes: int, most_s: float = 0.0) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._most_s = most_s or math.inf
        self._conversations: OrderedDict[ConversationId, _Kept] = OrderedDict()
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._conversations)

    def get(self, conversation_id: ConversationId, now_s: float) -> Conversation | None:
        """The conversation, if it is kept and good; it counts as used."""
        found = self._conversations.get(conversation_id)
        if found is None or found.until_s <= now_s:
            return None
        self._conversations.move_to_end(conversation_id)
        return found.conversation

    def peek(self, conversation_id: ConversationId) -> Conversation | None:
        """The conversation, if it is kept, however old."""
        found = self._conversations.get(conversation_id)
        return None if found is None else found.conversation

    def add(self, conversation: Conversation, now_s: float) -> Conversation:
        """Keep a conversation with all its participants, and forget those that were used longest ago for it.

        Returns: the one that is kept: what is kept already, if that is newer.
        """
        replaced = self._conversations.pop(conversation.id, None)
        if replaced is not None:
            self.size_bytes -= replaced.size_bytes
            if replaced.conversation.rev >= conversation.rev:
                conversation = replaced.conversation
        size_bytes = _size_bytes(conversation)
        self._conversations[conversation.id] = _Kept(conversation, size_bytes, now_s + self._most_s)
        self.size_bytes += size_bytes
        while len(self._conversations) > 1 and self._full():
            _, forgotten = self._conversations.popitem(last=False)
            self.size_bytes -= forgotten.size_bytes
        return conversation

    def doubt(self, conversation_id: ConversationId) -> None:
        """Look at the store before a conversation is used again."""
        found = self._conversations.get(conversation_id)
        if found is not None:
            self._conversations[conversation_id] = found._replace(until_s=-math.inf)

    def _full(self) -> bool:
        return len(self._conversations) > self._most or 0 < self._most_bytes < self.size_bytes


def _size_bytes(conversation: Conversation) -> int:
    ids = conversation.participant_ids
    special = len(conversation.roles) + len(conversation.entries)
    metadata = 0 if conversation.metadata is None else len(str(conversation.metadata))
    return (
        _FIXED_BYTES
        + _POINTER_BYTES * len(ids)
        + sum(map(sys.getsizeof, ids))
        + _SPECIAL_BYTES * special
        + 2 * metadata
    )
