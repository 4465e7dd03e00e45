"""socketserver.chat.visible"""

from __future__ import annotations

from dataclasses import replace
from socketserver.chat import visible
from socketserver.chat.domain import Conversation, ConversationId, ConversationSummary, Gap, Message, MessageId, UserId
from socketserver.store.results import ChangePage, ConversationPage, MessagePage, Snapshot

import pytest

ANN = UserId("ann")
HERE = Conversation(ConversationId("c"), "group", None, ANN, (ANN,), 0)


def message(seq: int, change: int = 0) -> Message:
    return Message(MessageId("m"), HERE.id, seq, change or seq, ANN, "k", str(seq), None, 0)


def snapshot(first: int, last: int, gap: Gap | None = None) -> Snapshot:
    page = tuple(message(seq) for seq in range(first, last + 1))
    return Snapshot(HERE, (), page, last, last, gap, (message(2, 20), message(6, 21)), 21)


@pytest.mark.parametrize(
    ("first_seq", "gap", "seqs", "shown"),
    [
        (1, Gap(3, 4), [5, 6, 7, 8], Gap(3, 4)),
        (3, Gap(3, 4), [5, 6, 7, 8], Gap(3, 4)),
        (4, Gap(3, 4), [5, 6, 7, 8], Gap(4, 4)),
        (5, Gap(3, 4), [5, 6, 7, 8], None),
        (7, Gap(3, 4), [7, 8], None),
        (9, None, [], None),
    ],
)
def test_who_joins_sees_nothing_below_the_first(
    first_seq: int, gap: Gap | None, seqs: list[int], shown: Gap | None
) -> None:
    found = visible.snapshot(snapshot(5, 8, gap), first_seq)
    assert ([each.seq for each in found.messages], found.gap) == (seqs, shown)
    assert [each.seq for each in found.updates] == [seq for seq in (2, 6) if seq >= first_seq]
    assert (found.updates_through, found.change, found.last_seq) == (21, 8, 8)


def test_a_page_that_reaches_what_is_hidden_ends_there() -> None:
    page = MessagePage((message(3), message(4)), has_more=True)
    assert visible.page(page, 3) == page
    assert visible.page(page, 4) == MessagePage((message(4),), has_more=False)


def test_a_page_of_changes_goes_as_far_as_it_went() -> None:
    page = ChangePage((message(2, 7), message(5, 8)), 8, has_more=True)
    assert visible.changes(page, 1) is page
    assert visible.changes(page, 3) == replace(page, messages=(message(5, 8),))


def test_a_list_shows_no_message_that_is_hidden() -> None:
    summary = ConversationSummary(HERE, message(5), 6, 6, 5, 0, first_seq=5)
    hidden = replace(summary, first_seq=6)
    found = visible.summaries(ConversationPage((summary, hidden), has_more=True, unread=3))
    assert found == ConversationPage((summary, replace(hidden, last_message=None)), has_more=True, unread=3)
