"""How many unread messages mention somebody: exact in lists and snapshots, whatever becomes of the messages."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from socketserver.chat.changes import Delete, Edit, React
from socketserver.chat.domain import ConversationId, UserId, new_id
from socketserver.store import Store

from support.histories import present
from support.stores import ANN, BOB, CAT, NOW_MS, group, message_draft

PEOPLE = (ANN, BOB, CAT)


async def counted(store: Store, where: ConversationId, user_id: UserId) -> int:
    """The same number in a list and in a snapshot."""
    page = await store.list_conversations(user_id, limit=50, before=None)
    (listed,) = [each.unread_mentions for each in page.summaries if each.conversation.id == where]
    snapshot = await store.get_snapshot(where, after=None, limit=1, reader=user_id, participants=1)
    assert snapshot
    assert snapshot.unread_mentions == listed
    return listed


async def send(store: Store, where: ConversationId, *mentions: UserId, by: UserId = ANN) -> int:
    draft = replace(message_draft(where, by=by), mentions=mentions)
    return (await store.append_message(draft)).message.seq


async def test_unread_messages_that_mention_somebody_are_counted(store: Store) -> None:
    here, there = await group(store), await group(store)
    for mentions in ((), (BOB,), (BOB, CAT), (), (CAT,)):
        await send(store, here, *mentions)
    await send(store, there, CAT)
    assert [await counted(store, here, user) for user in PEOPLE] == [0, 2, 2]
    await store.advance_read(here, BOB, 2, NOW_MS)
    assert [await counted(store, here, user) for user in PEOPLE] == [0, 1, 2]
    await send(store, here, by=CAT)
    assert [await counted(store, here, user) for user in PEOPLE] == [0, 1, 0], "sending counts as reading"
    assert await counted(store, there, CAT) == 1


async def test_an_edit_mentions_somebody_else_and_a_deletion_nobody(store: Store) -> None:
    """What is read already is no unread mention."""
    here = await group(store)
    await send(store, here, BOB)
    await send(store, here, BOB)
    await store.advance_read(here, CAT, 1, NOW_MS)
    for seq in (1, 2):
        await store.change_message(Edit(here, seq, ANN, "e", "other", NOW_MS, None, (CAT,)))
    assert [await counted(store, here, user) for user in PEOPLE] == [0, 0, 1]
    await store.change_message(React(here, 2, BOB, "+", on=True))
    assert await counted(store, here, CAT) == 1
    await store.change_message(Edit(here, 2, ANN, "f", "third", NOW_MS, None, (BOB, CAT)))
    assert [await counted(store, here, user) for user in PEOPLE] == [0, 1, 1]
    await store.change_message(Delete(here, 2, ANN, NOW_MS))
    assert [await counted(store, here, user) for user in PEOPLE] == [0, 0, 0]


async def test_what_was_before_is_told_to_the_first_of_those_stored_together(store: Store) -> None:
    """So that a mention that is new, or gone, is told once."""
    here = await group(store)
    seq = await send(store, here, BOB)
    first, second = await asyncio.gather(
        store.change_message(React(here, seq, BOB, "+", on=True)),
        store.change_message(Edit(here, seq, ANN, "e", "other", NOW_MS, None, (CAT,))),
    )
    told = [each.before.mentions for each in (first, second) if each.before is not None]
    assert told[-1] == (BOB,)
    if first.message == second.message:
        assert told == [(BOB,)]
    assert (await store.change_message(Edit(here, seq, ANN, "e", "other", NOW_MS, None, (CAT,)))).before is None


async def test_any_history_counts_what_is_there(store: Store) -> None:
    """Sent, edited and deleted together, some in one commit: the number is that of the messages as they are."""
    here = await group(store)
    dice = random.Random(1)

    def some() -> tuple[UserId, ...]:
        return tuple(dice.sample(PEOPLE, dice.randint(0, 3)))

    for _ in range(6):
        await asyncio.gather(*(send(store, here, *some(), by=dice.choice(PEOPLE)) for _ in range(3)))
        messages = await present(store, here)
        work = []
        for _ in range(5):
            message = dice.choice(messages)
            if dice.random() < 0.7:
                edit = Edit(here, message.seq, message.sender_id, new_id(), new_id(), NOW_MS, None, some())
                work.append(store.change_message(edit))
            else:
                work.append(store.change_message(Delete(here, message.seq, message.sender_id, NOW_MS)))
        await asyncio.gather(*work)
        await store.advance_read(here, dice.choice(PEOPLE), dice.randint(1, len(messages)), NOW_MS)
        snapshot = await store.get_snapshot(here, after=None, limit=1)
        assert snapshot
        messages = await present(store, here)
        for mark in snapshot.read_marks:
            expected = sum(mark.user_id in each.mentions for each in messages if each.seq > mark.read_seq)
            assert await counted(store, here, mark.user_id) == expected
