"""What the change of a message means for lists of conversations: another preview, and one message less to read."""

from __future__ import annotations

from ..errors import StoreUnavailable
from ..store.base import Changed, Store
from .changes import Change, Delete, Outcome, React
from .domain import Conversation
from .news import ConversationUpdated
from .profiles import Profiles


class Previews:
    """Finds out what lists show after a change.

    Args:
        profiles: how senders are shown.
    """

    def __init__(self, store: Store, profiles: Profiles) -> None:
        self._store = store
        self._profiles = profiles

    async def after(self, conversation: Conversation, change: Change, changed: Changed) -> ConversationUpdated | None:
        """The news for lists, None if they show the same as before: one look into the store for an edit or a deletion.

        A preview is read after the change, and may show what came later. Whoever made that tells of it later too, so
        that in the order of the lane the last one told is the present one. Where the store cannot be asked, the preview
        is left out: the next list has it. That a message does not count is told once, and not for a repeat.
        """
        message, outcome = changed.message, changed.outcome
        if message is None or isinstance(change, React) or outcome not in (Outcome.DONE, Outcome.DUPLICATE):
            return None
        deletes = isinstance(change, Delete)
        if message.deleted and not deletes:
            return None  # the two were stored together, and the deletion tells
        uncounted_seq = message.seq if deletes and outcome is Outcome.DONE else None
        try:
            last = await self._store.get_last_message(conversation.id)
        except StoreUnavailable:
            last, shown = None, False
        else:
            last_seq = 0 if last is None else last.seq
            shown = last_seq < message.seq if deletes else last_seq == message.seq
        if not shown:
            return None if uncounted_seq is None else ConversationUpdated(conversation, uncounted_seq=uncounted_seq)
        sender = None if last is None else self._profiles.peek(last.sender_id)
        return ConversationUpdated(conversation, True, last, uncounted_seq, sender)
