"""Announcements in the order of `change`: one lane a conversation, for the writes that are on their way to the store.

The store numbers a conversation's messages and their changes in the order of the calls, but the callers wake up in any
order; the lane makes the announcements follow the numbers.
Source: docs/decisions/0003-announcements-follow-a-lane.md
"""

from __future__ import annotations

from collections import deque

from .domain import ConversationId
from .news import ConversationUpdated, MessageCreated, MessageUpdated, Receiver

Numbered = MessageCreated | MessageUpdated


class Slot:
    """A write's place in its conversation's lane, from the call to the announcement."""

    __slots__ = ("listed", "news", "settled")

    def __init__(self) -> None:
        self.settled = False
        self.news: Numbered | None = None
        self.listed: ConversationUpdated | None = None


class _Lane:
    """The slots of a conversation, and the newest change that it has announced."""

    __slots__ = ("newest", "slots")

    def __init__(self) -> None:
        self.slots: deque[Slot] = deque()
        self.newest = 0


class Lanes:
    """The lanes of all conversations that have writes under way.

    Args:
        receiver: told of each write when all before it are settled. Changes that the store merged into one are told
            once.
    """

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._lanes: dict[ConversationId, _Lane] = {}

    def enter(self, conversation_id: ConversationId) -> Slot:
        """Take the next place. Call it right before the store is called, and `settle` whatever comes of it."""
        slot = Slot()
        lane = self._lanes.get(conversation_id)
        if lane is None:
            lane = self._lanes[conversation_id] = _Lane()
        lane.slots.append(slot)
        return slot

    def settle(
        self,
        conversation_id: ConversationId,
        slot: Slot,
        news: Numbered | None,
        listed: ConversationUpdated | None = None,
    ) -> None:
        """Note what became of a write, None if nothing was stored; announce what is settled at the lane's head.

        Args:
            listed: what it means for lists; told after the write, also where that was merged into another.
        """
        slot.settled = True
        slot.news = news
        slot.listed = listed
        lane = self._lanes[conversation_id]
        slots = lane.slots
        while slots and slots[0].settled:
            first = slots.popleft()
            ready = first.news
            if ready is None:
                continue
            is_new = ready.message.change > lane.newest
            if is_new:
                lane.newest = ready.message.change
            if is_new or ready.duplicate:  # else it was stored together with one that was announced a moment ago
                self._receiver.receive(ready)
            if first.listed is not None:
                self._receiver.receive(first.listed)
        if not slots:
            del self._lanes[conversation_id]
