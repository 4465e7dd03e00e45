"""change_message, list_changes, get_messages and what they do to snapshots, lists and unread counts."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from socketserver.chat.changes import Change, Delete, Edit, Outcome, React
from socketserver.chat.domain import ConversationId, Gap, Message, Reaction, UserId
from socketserver.errors import ConversationNotFound
from socketserver.store import Store
from socketserver.store.results import Appended, Changed
from typing import Any

import pytest
from support.histories import Reader, present
from support.stores import ANN, BOB, CAT, NOW_MS, Backend, bodies, group, message_draft, say

MISSING = ConversationId("missing")


def edit(
    where: ConversationId, seq: int, body: str = "edited", *, by: UserId = ANN, key: str = "e", **more: Any
) -> Edit:
    return Edit(where, seq, by, key, body, NOW_MS + 50, **more)


def delete(where: ConversationId, seq: int, *, by: UserId = ANN, **more: Any) -> Delete:
    return Delete(where, seq, by, NOW_MS + 60, **more)


async def done(store: Store, change: Change) -> Message:
    """Make a change that works."""
    changed = await store.change_message(change)
    assert changed.outcome is Outcome.DONE
    assert changed.message
    return changed.message


async def one(store: Store, where: ConversationId, seq: int) -> Message:
    (message,) = await store.get_messages(where, [seq])
    return message


async def test_an_edit_moves_the_message_to_the_next_number(store: Store) -> None:
    here = await group(store)
    await say(store, here, 3)
    before = await one(store, here, 2)
    message = await done(store, edit(here, 2, metadata={"a": [1]}, mentions=(BOB,)))
    assert (message.seq, message.change, message.born) == (2, 4, 2)
    assert (message.body, message.metadata, message.mentions) == ("edited", {"a": [1]}, (BOB,))
    assert (message.later.edited_at_ms, message.later.edit_key) == (NOW_MS + 50, "e")
    assert (message.id, message.created_at_ms) == (before.id, before.created_at_ms)
    assert await present(store, here) == [await one(store, here, 1), message, await one(store, here, 3)]
    appended = (await store.append_message(message_draft(here))).message
    assert (appended.seq, appended.change) == (4, 5)


async def test_a_deletion_leaves_a_tombstone(store: Store) -> None:
    here = await group(store)
    sent = message_draft(here, "secret", key="k", metadata={"secret": 1})
    await store.append_message(replace(sent, reply_to=1, mentions=(BOB,)))
    await done(store, React(here, 1, BOB, "👍", on=True))
    await done(store, edit(here, 1, "secret too"))
    message = await done(store, delete(here, 1, by=CAT, others=True))
    assert (message.body, message.metadata, message.mentions, message.reply_to) == ("", None, (), 1)
    later = message.later
    assert (later.deleted_at_ms, later.deleted_by, later.reactions) == (NOW_MS + 60, CAT, ())
    assert (later.edited_at_ms, later.edit_key) == (None, None)
    assert await one(store, here, 1) == message
    repeat = await store.append_message(sent)
    assert (repeat.message, repeat.duplicate) == (message, True), "the key is the message's for ever"


async def test_reactions_are_set_and_taken_back(store: Store) -> None:
    here = await group(store)
    await say(store, here, 1)
    for by, reaction, on in ((BOB, "👍", True), (ANN, "🎉", True), (ANN, "👍", True), (BOB, "👍", False)):
        await done(store, React(here, 1, by, reaction, on))
    message = await one(store, here, 1)
    assert message.later.reactions == (Reaction("👍", (ANN,)), Reaction("🎉", (ANN,)))
    assert message.change == 5


async def test_what_repeats_or_changes_nothing_costs_no_number(store: Store) -> None:
    here = await group(store)
    await say(store, here, 2)
    await done(store, edit(here, 1, "x", metadata={"a": 1, "b": 2}))
    await done(store, React(here, 1, BOB, "+", on=True))
    gone = await done(store, delete(here, 2))
    for change, outcome in (
        (edit(here, 1, "x", metadata={"b": 2, "a": 1}), Outcome.DUPLICATE),
        (edit(here, 1, "y"), Outcome.KEY_CONFLICT),
        (edit(here, 1, "x", key="other", metadata={"a": 1, "b": 2}), Outcome.UNCHANGED),
        (React(here, 1, BOB, "+", on=True), Outcome.UNCHANGED),
        (React(here, 1, BOB, "-", on=False), Outcome.UNCHANGED),
        (delete(here, 2), Outcome.DUPLICATE),
        (edit(here, 2), Outcome.DELETED),
        (React(here, 2, BOB, "+", on=True), Outcome.DELETED),
        (edit(here, 1, by=BOB), Outcome.FORBIDDEN),
        (delete(here, 1, by=BOB), Outcome.FORBIDDEN),
        (edit(here, 1, "y", key="late", since_ms=NOW_MS + 2), Outcome.TOO_LATE),
        (delete(here, 1, since_ms=NOW_MS + 2), Outcome.TOO_LATE),
        (edit(here, 1, "y", key="old", if_change=1), Outcome.VERSION_CONFLICT),
        (edit(here, 3), Outcome.NOT_FOUND),
        (React(here, 2**70, BOB, "+", on=True), Outcome.NOT_FOUND),
        (delete(here, -1), Outcome.NOT_FOUND),
    ):
        changed = await store.change_message(change)
        assert changed.outcome is outcome, change
        if outcome is Outcome.NOT_FOUND:
            assert changed.message is None
        else:
            assert changed.message == await one(store, here, change.seq)
    assert (await store.append_message(message_draft(here))).message.change == gone.change + 1


async def test_the_message_that_lists_show_is_the_newest_that_counts(store: Store) -> None:
    here, empty = await group(store), await group(store)
    await say(store, here, 3)
    assert await store.get_last_message(here) == await one(store, here, 3)
    await done(store, edit(here, 3, "x"))
    await done(store, delete(here, 2))
    assert await store.get_last_message(here) == await one(store, here, 3)
    await done(store, delete(here, 3))
    assert await store.get_last_message(here) == await one(store, here, 1)
    await done(store, delete(here, 1))
    for conversation_id in (here, empty, MISSING):
        assert await store.get_last_message(conversation_id) is None


async def test_a_change_in_a_conversation_that_does_not_exist_is_refused(store: Store) -> None:
    with pytest.raises(ConversationNotFound):
        await store.change_message(edit(MISSING, 1))


async def test_an_edit_of_the_present_version_is_done(store: Store) -> None:
    here = await group(store)
    await say(store, here, 1)
    changed = await done(store, edit(here, 1, if_change=1))
    await done(store, edit(here, 1, "again", key="f", if_change=changed.change))


async def test_a_repeat_of_a_message_that_was_edited_is_that_message(store: Store) -> None:
    here = await group(store)
    sent = message_draft(here, "first", key="k")
    await store.append_message(sent)
    message = await done(store, edit(here, 1))
    repeat = await store.append_message(sent)
    assert (repeat.message, repeat.duplicate) == (message, True)


async def test_all_kinds_of_writes_are_numbered_and_answered_in_the_order_of_the_calls(store: Store) -> None:
    here = await group(store)
    await say(store, here, 3)
    answered: list[int] = []

    async def call(number: int, work: Any) -> Appended | Changed:
        result: Appended | Changed = await work
        answered.append(number)
        return result

    results = await asyncio.gather(
        *(
            call(number, work)
            for number, work in enumerate(
                [
                    store.change_message(React(here, 2, BOB, "+", on=True)),
                    store.append_message(message_draft(here)),
                    store.change_message(edit(here, 1)),
                    store.change_message(React(here, 2, CAT, "+", on=True)),
                    store.append_message(message_draft(here)),
                    store.change_message(delete(here, 3)),
                ]
            )
        )
    )
    messages = [result.message for result in results if result.message]
    assert answered == [0, 1, 2, 3, 4, 5]
    seen = {each.change for each in messages}
    assert seen == set(range(4, 4 + len(seen)))
    first = [each.change for each in messages if each is not messages[3]]
    assert first == sorted(first)
    two = await one(store, here, 2)
    assert two.later.reactions == (Reaction("+", (BOB, CAT)),)
    assert messages[3] == two


async def test_many_reactions_at_once_share_numbers(store: Store) -> None:
    here = await group(store)
    await say(store, here, 1)
    results = await asyncio.gather(
        *(store.change_message(React(here, 1, UserId(f"u{number}"), "+", on=True)) for number in range(200))
    )
    message = await one(store, here, 1)
    (reaction,) = message.later.reactions
    assert reaction.user_ids == tuple(f"u{number}" for number in range(200))
    assert all(result.outcome is Outcome.DONE for result in results)
    assert message.change < 20, "a number for each commit, not for each reaction"
    changes = [result.message.change for result in results if result.message]
    assert changes == sorted(changes)
    assert set(changes) == set(range(2, message.change + 1))


async def test_a_refusal_among_changes_disturbs_nobody(store: Store) -> None:
    here = await group(store)
    await say(store, here, 1)
    results = await asyncio.gather(
        store.change_message(React(here, 1, BOB, "\ud83d", on=True)),
        store.change_message(React(here, 1, BOB, "+", on=True)),
        store.change_message(edit(here, 1, metadata={"a": float("nan")})),
        store.append_message(message_draft(here)),
        return_exceptions=True,
    )
    assert isinstance(results[0], ValueError)
    assert isinstance(results[2], ValueError)
    assert isinstance(results[1], Changed)
    assert results[1].outcome is Outcome.DONE
    assert isinstance(results[3], Appended)
    assert results[3].message.change == 3


# -- reading what changed


async def changed_conversation(store: Store) -> ConversationId:
    """Seven messages; 2 was edited, 5 deleted, 2 reacted to, between them: 2 stands at 9, 5 at 7; the end is 10."""
    here = await group(store)
    await say(store, here, 5)
    await done(store, edit(here, 2))  # 6
    await done(store, delete(here, 5))  # 7
    await say(store, here, 1)  # 8
    await done(store, React(here, 2, BOB, "+", on=True))  # 9
    await say(store, here, 1)  # 10
    return here


NUMBERS = [(1, 1), (3, 3), (4, 4), (5, 7), (6, 8), (2, 9), (7, 10)]  # seq, change


def numbers(messages: Any) -> list[tuple[int, int]]:
    return [(message.seq, message.change) for message in messages]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("after", [-5, 0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 10**30])
async def test_changes_come_in_the_order_of_their_numbers(store: Store, after: int, limit: int) -> None:
    here = await changed_conversation(store)
    expected = [each for each in NUMBERS if each[1] > after]
    page = await store.list_changes(here, after=after, limit=limit)
    assert numbers(page.messages) == expected[:limit]
    assert page.has_more == (len(expected) > limit)
    assert page.through == (expected[limit - 1][1] if page.has_more else 10)


async def test_changes_of_an_unknown_or_empty_conversation(store: Store) -> None:
    for where in (MISSING, await group(store)):
        page = await store.list_changes(where, after=0, limit=5)
        assert (page.messages, page.through, page.has_more) == ((), 0, False)


async def test_the_newest_change_of_many_conversations(store: Store) -> None:
    changed, empty, fresh = await changed_conversation(store), await group(store), await group(store)
    await say(store, fresh, 2)
    expected = {changed: 10, empty: 0, fresh: 2}
    assert await store.newest_changes([changed, empty, MISSING, fresh, changed]) == expected
    await done(store, delete(fresh, 1))
    assert await store.newest_changes([fresh]) == {fresh: 3}
    assert await store.newest_changes([]) == {}


async def test_messages_by_seq(store: Store) -> None:
    here = await changed_conversation(store)
    found = await store.get_messages(here, [7, 2, 2, 99, -1, 10**30])
    assert numbers(found) == [(2, 9), (7, 10)]
    assert await store.get_messages(here, []) == ()
    assert await store.get_messages(MISSING, [1]) == ()


@pytest.mark.parametrize(
    ("after", "limit", "messages", "gap", "updates", "through"),
    [
        (None, 3, [5, 6, 7], None, [], None),
        (0, 100, [1, 2, 3, 4, 5, 6, 7], None, [], None),
        (3, 100, [4, 5, 6, 7], None, [2], None),
        (5, 100, [6, 7], None, [5, 2], None),
        (5, 1, [7], Gap(6, 6), [5], 7),
        (7, 100, [6, 7], None, [2], None),
        (8, 100, [7], None, [2], None),
        (9, 100, [7], None, [], None),
        (10, 100, [], None, [], None),
        (11, 2, [6, 7], None, [], None),
    ],
)
async def test_who_joins_again_is_told_what_changed(
    store: Store,
    after: int | None,
    limit: int,
    messages: list[int],
    gap: Gap | None,
    updates: list[int],
    through: int | None,
) -> None:
    here = await changed_conversation(store)
    snapshot = await store.get_snapshot(here, after=after, limit=limit)
    assert snapshot
    assert [each.seq for each in snapshot.messages] == messages
    assert [each.seq for each in snapshot.updates] == updates
    assert (snapshot.gap, snapshot.updates_through) == (gap, through)
    assert (snapshot.last_seq, snapshot.change) == (7, 10)


async def test_hundreds_of_changed_messages_behind_a_join_come_in_pages(store: Store) -> None:
    here = await group(store)
    count = 340
    await asyncio.gather(*(store.append_message(message_draft(here, str(number))) for number in range(count)))
    everything = await store.get_snapshot(here, after=None, limit=1)
    assert everything
    cursor = everything.change
    for first in range(1, count, 34):  # not all at once: the tests' MongoDB is slow
        await asyncio.gather(
            *(store.change_message(React(here, seq, BOB, "+", on=True)) for seq in range(first, first + 34))
        )
    snapshot = await store.get_snapshot(here, after=cursor, limit=50)
    assert snapshot
    assert len(snapshot.updates) == 50
    assert snapshot.updates_through == snapshot.updates[-1].change
    reader = Reader(cursor)
    pages = 0
    while True:
        page = await store.list_changes(here, after=reader.cursor, limit=100)
        pages += 1
        reader.take(page)
        if not page.has_more:
            break
    assert len(reader.known) == count
    assert pages <= 5
    fresh = Reader()
    await fresh.catch_up(store, here, limit=100)
    assert fresh.messages() == await present(store, here)


# -- what does not count


async def test_deleted_messages_do_not_count_as_unread(store: Store) -> None:
    here = await group(store)
    await say(store, here, 6)
    await store.advance_read(here, BOB, 2, NOW_MS)
    for seq in (1, 4, 5):
        await done(store, delete(here, seq))
    (summary,) = (await store.list_conversations(BOB, limit=5, before=None)).summaries
    assert (summary.last_seq, summary.read_seq, summary.unread_count) == (6, 2, 2)
    snapshot = await store.get_snapshot(here, after=None, limit=1, reader=BOB)
    assert snapshot
    assert snapshot.uncounted == 2
    (summary,) = (await store.list_conversations(CAT, limit=5, before=None)).summaries
    assert summary.unread_count == 3
    results = await asyncio.gather(*(store.advance_read(here, BOB, seq, NOW_MS) for seq in (0, 4, 5, 6)))
    assert [result.unread_count for result in results] == [2, 1, 1, 0]


async def test_a_conversation_with_nothing_but_deleted_messages_unread_is_read(store: Store) -> None:
    here, there = await group(store), await group(store)
    for where in (here, there):
        await say(store, where, 2)
        await store.advance_read(where, BOB, 1, NOW_MS)
    assert (await store.list_conversations(BOB, limit=5, before=None)).unread == 2
    await done(store, delete(here, 2))
    page = await store.list_conversations(BOB, limit=5, before=None)
    assert page.unread == 1
    assert {each.conversation.id: each.unread_count for each in page.summaries} == {here: 0, there: 1}
    await done(store, delete(there, 2))
    assert (await store.list_conversations(BOB, limit=5, before=None)).unread == 0


async def test_a_list_shows_the_newest_message_that_is_not_deleted(store: Store) -> None:
    here = await group(store)
    await say(store, here, 3)
    shown = []
    for seq in (2, 3, 1):
        await done(store, delete(here, seq))
        (summary,) = (await store.list_conversations(BOB, limit=5, before=None)).summaries
        shown.append(summary.last_message.body if summary.last_message else None)
        assert summary.last_seq == 3
    assert shown == ["3", "1", None]
    assert summary.last_change == 6


async def test_a_change_does_not_move_a_conversation_up_the_list(store: Store) -> None:
    here, there = await group(store), await group(store)
    await say(store, here, 1)
    await store.append_message(message_draft(there, at_ms=NOW_MS + 5))
    await done(store, edit(here, 1))
    page = await store.list_conversations(BOB, limit=5, before=None)
    assert [each.conversation.id for each in page.summaries] == [there, here]
    assert page.summaries[1].last_message == await one(store, here, 1)


async def test_replies_and_mentions_are_part_of_a_message(store: Store) -> None:
    here = await group(store)
    await say(store, here, 1)
    draft = replace(message_draft(here, "yes", key="k"), reply_to=1, mentions=(BOB, CAT))
    message = (await store.append_message(draft)).message
    assert (message.reply_to, message.mentions) == (1, (BOB, CAT))
    assert (await store.list_messages(here, limit=1)).messages == (message,)
    assert (await store.append_message(draft)).message == message


async def test_history_shows_messages_as_they_are_now(store: Store) -> None:
    here = await changed_conversation(store)
    page = await store.list_messages(here, limit=100)
    assert bodies(page.messages) == ["1", "edited", "3", "4", "", "1", "1"]
    assert list(page.messages) == await present(store, here)


async def test_two_stores_change_one_message(shared_backend: Backend) -> None:
    """A number that another process has given out, and that its message has left, is not given out again."""
    ours, theirs = await shared_backend.open(), await shared_backend.open()
    here = await group(ours)
    await say(ours, here, 2)
    await done(theirs, React(here, 1, BOB, "+", on=True))
    await done(theirs, React(here, 1, BOB, "-", on=True))
    message = (await ours.append_message(message_draft(here))).message
    assert (message.seq, message.change) == (3, 5)
    await done(theirs, React(here, 1, CAT, "+", on=True))
    both = await done(ours, React(here, 1, CAT, "-", on=True))
    assert both.change == 7
    assert both.later.reactions == (Reaction("+", (BOB, CAT)), Reaction("-", (BOB, CAT)))
