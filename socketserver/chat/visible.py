"""What of a conversation somebody may see who was added later: nothing below the first message that is theirs. Pure.

Everything that is read for a user goes through here; to whom what is announced is shown `Conversation.blind_to` tells.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ..store.results import ChangePage, ConversationPage, MessagePage, Snapshot
from .domain import Gap, Message
from .news import ConversationUpdated


def messages(found: Iterable[Message], first_seq: int) -> tuple[Message, ...]:
    """Those that may be seen."""
    return tuple(message for message in found if message.seq >= first_seq)


def page(found: MessagePage, first_seq: int) -> MessagePage:
    """A page of history. Where it reaches what is hidden, there is nothing more in that direction."""
    seen = messages(found.messages, first_seq)
    hidden = len(seen) < len(found.messages)
    return MessagePage(seen, has_more=False) if hidden else found


def changes(found: ChangePage, first_seq: int) -> ChangePage:
    """A page of changes; as far as it goes, whatever of it may be seen."""
    return found if first_seq <= 1 else replace(found, messages=messages(found.messages, first_seq))


def snapshot(found: Snapshot, first_seq: int) -> Snapshot:
    """What somebody finds who joins."""
    if first_seq <= 1:
        return found
    gap = found.gap
    if gap is not None:
        gap = Gap(max(gap.from_seq, first_seq), gap.to_seq) if gap.to_seq >= first_seq else None
    seen, updates = messages(found.messages, first_seq), messages(found.updates, first_seq)
    # Where updates did not all fit, how far they go is said still: what follows is paged through.
    return replace(found, messages=seen, updates=updates, gap=gap)


def summaries(found: ConversationPage) -> ConversationPage:
    """A page of a user's list: the message that it shows may be one that the user may not see."""
    shown = tuple(
        replace(each, last_message=None)
        if each.last_message is not None and each.last_message.seq < each.first_seq
        else each
        for each in found.summaries
    )
    return replace(found, summaries=shown)


def updated(told: ConversationUpdated, first_seq: int) -> ConversationUpdated:
    """What lists show, for those who may see it from `first_seq` on: where the message to show is none of theirs, there
    is none."""
    last, seq, mentions = told.last_message, told.uncounted_seq, told.mentions
    shown = last is not None and last.seq >= first_seq
    return replace(
        told,
        last_message=last if shown else None,
        sender=told.sender if shown else None,
        uncounted_seq=None if seq is None or seq < first_seq else seq,
        mentions=None if mentions is None or mentions.seq < first_seq else mentions,
    )
