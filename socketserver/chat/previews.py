"""What the change of a message means for lists of conversations: another preview, one message less to
read, somebody else who is mentioned.

Source: docs/decisions/0025-lists-are-told-what-changed.md
"""

from __future__ import annotations

from dataclasses import replace

from ..errors import StoreUnavailable
from ..store.base import Store
from ..store.results import Changed
from .changes import Change, Delete, Edit, Outcome
from .domain import Conversation, Message
from .news import ConversationUpdated, MentionsChanged
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
        is left out: the next list has it. What counts no more, and who is mentioned, is told once, and not for a
        repeat.
        """
        message, outcome = changed.message, changed.outcome
        if message is None or outcome not in (Outcome.DONE, Outcome.DUPLICATE):
            return None
        deletes = isinstance(change, Delete)
        updated = ConversationUpdated(
            conversation,
            uncounted_seq=message.seq if deletes and outcome is Outcome.DONE else None,
            mentions=_mentions(changed.before, message),
            change=message.change,
        )
        # A reaction changes no preview; nor does an edit that was stored together with a deletion, which tells.
        if deletes or (isinstance(change, Edit) and not message.deleted):
            updated = await self._with_preview(updated, message, deletes=deletes)
        told = updated.preview or updated.uncounted_seq is not None or updated.mentions is not None
        return updated if told else None

    async def _with_preview(
        self, updated: ConversationUpdated, message: Message, *, deletes: bool
    ) -> ConversationUpdated:
        try:
            last = await self._store.get_last_message(updated.conversation.id)
        except StoreUnavailable:
            return updated
        last_seq = 0 if last is None else last.seq
        if last_seq >= message.seq if deletes else last_seq != message.seq:
            return updated
        sender = None if last is None else self._profiles.peek(last.sender_id)
        return replace(updated, preview=True, last_message=last, sender=sender)


def _mentions(before: Message | None, message: Message) -> MentionsChanged | None:
    """Whom a message mentions that it did not, or does no longer; None if that is nobody, or nothing is known."""
    if before is None or before.mentions == message.mentions:
        return None
    added = tuple(user_id for user_id in message.mentions if user_id not in before.mentions)
    removed = tuple(user_id for user_id in before.mentions if user_id not in message.mentions)
    return MentionsChanged(message.seq, added, removed) if added or removed else None
