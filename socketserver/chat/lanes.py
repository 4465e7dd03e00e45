"""Announcements in the order of `seq`: one lane a conversation, for the messages that are on their way to the store.

The store numbers a conversation's messages in the order of the calls, but the callers wake up in any order; the lane
makes the announcements follow the numbers. Source: docs/decisions/0003-announcements-follow-a-lane.md
"""

from __future__ import annotations

from collections import deque

from .domain import ConversationId
from .news import MessageCreated, Receiver


class Slot:
    """A message's place in its conversation's lane, from the call to the announcement."""

    __slots__ = ("created", "settled")

    def __init__(self) -> None:
        self.settled = False
        self.created: MessageCreated | None = None


class Lanes:
    """The lanes of all conversations that have messages under way.

    Args:
        receiver: told of each message when all before it are settled.
    """

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._lanes: dict[ConversationId, deque[Slot]] = {}

    def enter(self, conversation_id: ConversationId) -> Slot:
        """Take the next place. Call it right before the store is called, and `settle` whatever comes of it."""
        slot = Slot()
        self._lanes.setdefault(conversation_id, deque()).append(slot)
        return slot

    def settle(self, conversation_id: ConversationId, slot: Slot, created: MessageCreated | None) -> None:
        """Note what became of a message, None if it was not stored; announce what is settled at the lane's head."""
        slot.settled = True
        slot.created = created
        lane = self._lanes[conversation_id]
        while lane and lane[0].settled:
            ready = lane.popleft()
            if ready.created is not None:
                self._receiver.receive(ready.created)
        if not lane:
            del self._lanes[conversation_id]
