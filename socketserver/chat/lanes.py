"""Announcements in the order of `change`: one lane a conversation, for the writes that are on their way to the store.

The store numbers a conversation's messages and their changes in the order of the calls, but the callers wake up in any
order; the lane makes the announcements follow the numbers.
Source: docs/decisions/0003-announcements-follow-a-lane.md
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from .domain import Conversation, ConversationId
from .news import ConversationUpdated, MessageCreated, MessageUpdated, PeopleChanged, Receiver

Numbered = MessageCreated | MessageUpdated | PeopleChanged


class Slot:
    """A write's place in its conversation's lane, from the call to the announcement."""

    __slots__ = ("listed", "news", "settled")

    def __init__(self) -> None:
        self.settled = False
        self.news: Numbered | None = None
        self.listed: ConversationUpdated | None = None


class _Lane:
    """The slots of a conversation, the newest change that it has announced, and who takes part by now, where that has
    changed since the slots were taken."""

    __slots__ = ("conversation", "newest", "slots")

    def __init__(self) -> None:
        self.slots: deque[Slot] = deque()
        self.newest = 0
        self.conversation: Conversation | None = None


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

    def reform(self, conversation: Conversation) -> None:
        """Announce what is under way to those who take part by now."""
        lane = self._lanes.get(conversation.id)
        if lane is not None and (lane.conversation is None or lane.conversation.rev < conversation.rev):
            lane.conversation = conversation

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
            listed = first.listed
            now = lane.conversation
            if now is not None and now.rev > ready.conversation.rev:
                ready.conversation = now
                listed = None if listed is None else replace(listed, conversation=now)
            is_new = ready.message.change > lane.newest
            if is_new:
                lane.newest = ready.message.change
            # Else it was stored together with one that was announced a moment ago. A change of people never is; another
            # process may have stored its message in between.
            if is_new or ready.duplicate or isinstance(ready, PeopleChanged):
                self._receiver.receive(ready)
            if listed is not None:
                self._receiver.receive(listed)
        if not slots:
            del self._lanes[conversation_id]
