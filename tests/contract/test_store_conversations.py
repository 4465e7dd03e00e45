"""Conversations, their list and read marks, as store/base.py promises them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from socketserver.chat.changes import Delete
from socketserver.chat.domain import Conversation, ConversationId, ReadMark, UserId, new_id
from socketserver.errors import ConversationNotFound, IdempotencyConflict
from socketserver.store import Store
from socketserver.store.results import ConversationPage, Created

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.stores import ANN, BOB, CAT, NOW_MS, Backend, conversation_draft, group, message_draft, say

MISSING = ConversationId("missing")


async def everything(store: Store, user_id: UserId = ANN) -> ConversationPage:
    return await store.list_conversations(user_id, limit=100, before=None)


async def test_a_new_conversation_is_what_was_asked_for(store: Store) -> None:
    draft = conversation_draft(BOB, CAT, title="plans", key="k")
    created = await store.create_conversation(draft)
    assert not created.duplicate
    assert created.conversation == Conversation(
        draft.id, "group", "plans", ANN, (ANN, BOB, CAT), NOW_MS, roles={ANN: "owner"}
    )
    assert await store.get_conversation(draft.id) == created.conversation


async def test_a_missing_conversation_is_none(store: Store) -> None:
    assert await store.get_conversation(MISSING) is None


async def test_two_people_have_one_direct_conversation_whoever_starts_it(store: Store) -> None:
    first = await store.create_conversation(conversation_draft(BOB, by=ANN))
    second = await store.create_conversation(conversation_draft(ANN, by=BOB, at_ms=NOW_MS + 5))
    assert (first.duplicate, second.duplicate) == (False, True)
    assert second.conversation == first.conversation
    assert len((await everything(store)).summaries) == 1


async def test_a_group_with_the_same_key_of_the_same_user_is_the_same(store: Store) -> None:
    first = await store.create_conversation(conversation_draft(BOB, CAT, title="a", key="k"))
    again = await store.create_conversation(conversation_draft(BOB, CAT, title="a", key="k"))
    assert (again.duplicate, again.conversation) == (True, first.conversation)
    of_another = await store.create_conversation(conversation_draft(ANN, CAT, by=BOB, title="a", key="k"))
    assert not of_another.duplicate


@pytest.mark.parametrize(
    "other",
    [
        conversation_draft(BOB, CAT, title="b", key="k"),
        conversation_draft(BOB, title="a", key="k"),
        conversation_draft(BOB, CAT, key="k"),
    ],
    ids=["title", "participants", "no title"],
)
async def test_the_same_key_for_another_group_is_refused_and_writes_nothing(store: Store, other: object) -> None:
    await store.create_conversation(conversation_draft(BOB, CAT, title="a", key="k"))
    assert isinstance(other, type(conversation_draft()))
    with pytest.raises(IdempotencyConflict):
        await store.create_conversation(other)
    assert await store.get_conversation(other.id) is None
    assert len((await everything(store)).summaries) == 1


async def test_groups_without_a_key_are_always_new(store: Store) -> None:
    results = [await store.create_conversation(conversation_draft(BOB, CAT, title="a")) for _ in range(2)]
    assert not any(result.duplicate for result in results)
    assert len((await everything(store)).summaries) == 2


async def test_the_same_call_again_finds_what_it_made_even_without_a_key(store: Store) -> None:
    draft = conversation_draft(BOB, CAT, title="a")
    await store.create_conversation(draft)
    assert (await store.create_conversation(draft)).duplicate
    with pytest.raises(IdempotencyConflict):
        await store.create_conversation(replace(draft, title="b"))


async def test_concurrent_creations_of_one_conversation_make_one(store: Store) -> None:
    drafts = [conversation_draft(BOB) for _ in range(20)]
    results = await asyncio.gather(*(store.create_conversation(draft) for draft in drafts))
    assert [result.duplicate for result in results].count(False) == 1
    assert len({result.conversation for result in results}) == 1


async def test_concurrent_creations_from_two_stores_make_one(shared_backend: Backend) -> None:
    stores = [await shared_backend.open(), await shared_backend.open()]
    results: list[Created] = await asyncio.gather(
        *(stores[n % 2].create_conversation(conversation_draft(BOB)) for n in range(20))
    )
    assert [result.duplicate for result in results].count(False) == 1
    assert len({result.conversation for result in results}) == 1
    assert len((await everything(stores[0])).summaries) == 1


async def test_creation_mixed_with_other_writes_of_the_same_moment(store: Store) -> None:
    conversation_id = await group(store)
    created, appended, advanced = await asyncio.gather(
        store.create_conversation(conversation_draft(BOB)),
        store.append_message(message_draft(conversation_id)),
        store.advance_read(conversation_id, BOB, 0, NOW_MS),
    )
    assert (created.duplicate, appended.message.seq, advanced.advanced) == (False, 1, False)


# -- list_conversations


async def test_a_user_without_conversations_has_an_empty_list(store: Store) -> None:
    await group(store)
    page = await everything(store, UserId("nobody"))
    assert (page.summaries, page.has_more) == ((), False)


async def test_a_summary_of_an_empty_conversation(store: Store) -> None:
    conversation_id = await group(store, at_ms=NOW_MS + 3)
    (summary,) = (await everything(store)).summaries
    assert summary.conversation == await store.get_conversation(conversation_id)
    assert summary.last_message is None
    assert (summary.last_seq, summary.last_change, summary.read_seq) == (0, 0, 0)
    assert summary.activity_at_ms == NOW_MS + 3


async def test_a_summary_shows_the_last_message_and_the_users_own_mark(store: Store) -> None:
    conversation_id = await group(store)
    await say(store, conversation_id, 3, by=BOB)
    await store.advance_read(conversation_id, ANN, 1, NOW_MS)
    last = (await store.append_message(message_draft(conversation_id, "last", by=CAT, at_ms=NOW_MS + 9))).message
    unread = {}
    for user_id in (ANN, BOB, CAT):
        (summary,) = (await everything(store, user_id)).summaries
        assert summary.last_message == last
        assert (summary.last_seq, summary.last_change, summary.activity_at_ms) == (4, 4, NOW_MS + 9)
        unread[user_id] = summary.last_seq - summary.read_seq
    assert unread == {ANN: 3, BOB: 1, CAT: 0}


async def test_the_list_is_by_activity_then_id_and_pages_without_repeating_or_missing_any(store: Store) -> None:
    ids = [await group(store, at_ms=NOW_MS + n // 3) for n in range(9)]  # three each with the same activity
    await store.append_message(message_draft(ids[0], at_ms=NOW_MS + 100))
    others = await store.create_conversation(conversation_draft(CAT, by=BOB))
    whole = (await everything(store)).summaries
    places = [(summary.activity_at_ms, summary.conversation.id) for summary in whole]
    assert places == sorted(places, reverse=True)
    assert {place[1] for place in places} == set(ids) - {others.conversation.id}
    assert places[0] == (NOW_MS + 100, ids[0])
    for limit in (1, 2, 3, 4, 8, 9, 10):
        seen: list[tuple[int, ConversationId]] = []
        while True:
            page = await store.list_conversations(ANN, limit=limit, before=seen[-1] if seen else None)
            assert len(page.summaries) <= limit
            seen += [(summary.activity_at_ms, summary.conversation.id) for summary in page.summaries]
            assert page.has_more == (len(seen) < len(places))
            if not page.has_more:
                break
        assert seen == places


async def test_a_cursor_need_not_be_a_place_that_exists(store: Store) -> None:
    first, second = await group(store, at_ms=NOW_MS), await group(store, at_ms=NOW_MS + 10)

    async def before(at_ms: int, conversation_id: str) -> list[ConversationId]:
        page = await store.list_conversations(ANN, limit=5, before=(at_ms, ConversationId(conversation_id)))
        return [summary.conversation.id for summary in page.summaries]

    assert await before(NOW_MS + 5, "") == [first]
    assert await before(10**30, "x") == [second, first]
    assert await before(-(10**30), "x") == []


async def test_activity_never_goes_back(store: Store) -> None:
    conversation_id = await group(store, at_ms=NOW_MS)
    await store.append_message(message_draft(conversation_id, at_ms=NOW_MS + 50))
    await store.append_message(message_draft(conversation_id, at_ms=NOW_MS - 50))
    (summary,) = (await everything(store)).summaries
    assert summary.activity_at_ms == NOW_MS + 50
    assert summary.last_seq == 2


# -- advance_read


async def test_a_read_mark_moves_up_and_never_back(store: Store) -> None:
    conversation_id = await group(store)
    await say(store, conversation_id, 5)
    first = await store.advance_read(conversation_id, BOB, 3, NOW_MS + 1)
    assert (first.mark, first.last_seq, first.advanced) == (ReadMark(BOB, 3, NOW_MS + 1), 5, True)
    for seq in (3, 2, 0, -1, -(10**30)):
        again = await store.advance_read(conversation_id, BOB, seq, NOW_MS + 2)
        assert (again.mark, again.last_seq, again.advanced) == (ReadMark(BOB, 3, NOW_MS + 1), 5, False)
    snapshot = await store.get_snapshot(conversation_id, after=None, limit=1)
    assert snapshot is not None
    assert snapshot.read_marks[1] == ReadMark(BOB, 3, NOW_MS + 1)


@pytest.mark.parametrize("seq", [3, 4, 10**9, 10**30])
async def test_a_read_mark_stops_at_the_newest_message(store: Store, seq: int) -> None:
    conversation_id = await group(store)
    await say(store, conversation_id, 3)
    result = await store.advance_read(conversation_id, BOB, seq, NOW_MS)
    assert (result.mark.read_seq, result.last_seq, result.advanced) == (3, 3, True)


async def test_a_read_mark_in_an_empty_conversation_stays_at_zero(store: Store) -> None:
    conversation_id = await group(store)
    result = await store.advance_read(conversation_id, BOB, 5, NOW_MS)
    assert (result.mark, result.last_seq, result.advanced) == (ReadMark(BOB, 0, None), 0, False)


async def test_concurrent_advances_end_at_the_highest_and_each_counts_once(store: Store) -> None:
    conversation_id = await group(store)
    await say(store, conversation_id, 50)
    seqs = [7, 3, 50, 12, 50, 49, 1]
    results = await asyncio.gather(*(store.advance_read(conversation_id, BOB, seq, NOW_MS) for seq in seqs))
    assert max(result.mark.read_seq for result in results) == 50
    for seq, result in zip(seqs, results, strict=True):
        assert result.mark.read_seq >= seq
    assert 1 <= sum(result.advanced for result in results) <= 3
    final = await store.advance_read(conversation_id, BOB, 0, NOW_MS)
    assert final.mark.read_seq == 50


@pytest.mark.parametrize("user_id", [CAT, UserId("nobody"), UserId("")])
async def test_who_does_not_take_part_has_no_read_mark(store: Store, user_id: UserId) -> None:
    conversation_id = (await store.create_conversation(conversation_draft(BOB))).conversation.id
    for wanted in (conversation_id, MISSING):
        with pytest.raises(ConversationNotFound):
            await store.advance_read(wanted, user_id, 1, NOW_MS)


async def test_a_large_group(store: Store) -> None:
    people = tuple(sorted(UserId(f"user-{new_id()}") for _ in range(700)))
    created = await store.create_conversation(conversation_draft(*people, by=people[0], title="all"))
    assert created.conversation.participant_ids == people
    assert await store.get_conversation(created.conversation.id) == created.conversation
    (summary,) = (await everything(store, people[350])).summaries
    assert summary.conversation == created.conversation


PEOPLE = tuple(
    sorted(UserId(name) for name in ("Zoe", "ann", "bob", "cat", "dan", "émile", "漢", "😀", "a\x1fb", 'a,b"'))
)


async def test_a_list_has_the_first_participants_and_how_many_there_are(store: Store) -> None:
    """A list carried the thousand ids of each of its groups."""
    await store.create_conversation(conversation_draft(*PEOPLE, title="large"))
    await store.create_conversation(conversation_draft(BOB))
    for most in (1, 2, 9, 10, 11):
        page = await store.list_conversations(ANN, limit=5, before=None, participants=most)
        shown = {each.conversation.kind: each.conversation for each in page.summaries}
        assert shown["group"].participant_ids == PEOPLE[:most]
        assert shown["group"].participant_count == len(PEOPLE)
        assert shown["direct"].participant_ids == (ANN, BOB)[:most]
        assert shown["direct"].participant_count == 2


async def test_read_marks_page_by_page(store: Store) -> None:
    """Every participant once, in the order of ids, with the mark as it is; sending counts as reading here too."""
    created = await store.create_conversation(conversation_draft(*PEOPLE, title="large"))
    conversation_id = created.conversation.id
    await say(store, conversation_id, 3)
    await store.advance_read(conversation_id, BOB, 2, NOW_MS + 9)
    for limit in (1, 3, 10, 11):
        marks: list[ReadMark] = []
        after: UserId | None = None
        more = True
        while more:
            page = await store.list_read_marks(conversation_id, after=after, limit=limit)
            assert 0 < len(page.marks) <= limit
            marks += page.marks
            after, more = page.marks[-1].user_id, page.has_more
        assert tuple(mark.user_id for mark in marks) == PEOPLE
        known = {mark.user_id: mark for mark in marks}
        assert known[ANN] == ReadMark(ANN, 3, NOW_MS + 3)
        assert known[BOB] == ReadMark(BOB, 2, NOW_MS + 9)
        assert known[CAT] == ReadMark(CAT)
    assert (await store.list_read_marks(conversation_id, after=UserId("bo"), limit=1)).marks[0].user_id == BOB
    assert (await store.list_read_marks(conversation_id, after=PEOPLE[-1], limit=5)).marks == ()
    nowhere = await store.list_read_marks(ConversationId("no such"), after=None, limit=5)
    assert (nowhere.marks, nowhere.has_more) == ((), False)


async def test_a_snapshot_has_the_first_participants_and_the_reader(store: Store) -> None:
    """Joining a large group carried everybody's read mark."""
    created = await store.create_conversation(conversation_draft(*PEOPLE, title="large"))
    conversation_id = created.conversation.id
    for reader, shown in ((PEOPLE[-1], (*PEOPLE[:2], PEOPLE[-1])), (PEOPLE[0], PEOPLE[:2]), (None, PEOPLE[:2])):
        snapshot = await store.get_snapshot(conversation_id, after=None, limit=1, reader=reader, participants=2)
        assert snapshot is not None
        assert tuple(mark.user_id for mark in snapshot.read_marks) == shown
        assert snapshot.conversation.participant_ids == PEOPLE[:2]
        assert snapshot.conversation.participant_count == len(PEOPLE)


async def test_the_first_page_says_how_many_have_something_unread(store: Store) -> None:
    """A badge counted loaded pages only: 13 with 50 unread conversations."""
    assert (await everything(store, CAT)).unread == 0
    chats = [await group(store) for _ in range(7)]
    assert [(await everything(store, user_id)).unread for user_id in (ANN, BOB)] == [0, 0]
    for number, conversation_id in enumerate(chats[1:], 1):
        await say(store, conversation_id, number, by=BOB if number % 2 else ANN)
    assert [(await everything(store, user_id)).unread for user_id in (ANN, BOB, CAT)] == [3, 3, 6]
    await store.advance_read(chats[1], ANN, 1, NOW_MS)
    await store.advance_read(chats[5], ANN, 4, NOW_MS)
    await say(store, chats[3], 1)  # sending counts as reading
    first = await store.list_conversations(ANN, limit=2, before=None)
    assert (len(first.summaries), first.has_more, first.unread) == (2, True, 1)
    last = first.summaries[-1]
    later = await store.list_conversations(ANN, limit=10, before=(last.activity_at_ms, last.conversation.id))
    assert later.unread is None


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["say", "read", "delete"]),
            st.integers(0, 2),
            st.sampled_from([ANN, BOB, CAT]),
            st.integers(1, 4),
        ),
        max_size=14,
    )
)
@example(
    [("say", 0, BOB, 1), ("say", 0, ANN, 1), ("say", 0, BOB, 1), *(("delete", 0, BOB, seq) for seq in (3, 4, 5, 6))]
)
async def test_the_number_of_unread_conversations_is_that_of_the_list(
    backend: Backend, steps: list[tuple[str, int, UserId, int]]
) -> None:
    """After any writing, reading and deleting, exactly those that the list shows unread: on MongoDB a conversation that
    ended with one's own deleted message, and others' after it, counted too."""
    store = backend.stores[0] if backend.stores else await backend.open()
    chats = [await group(store) for _ in range(3)]
    for what, place, user_id, seq in steps:
        if what == "say":
            await say(store, chats[place], 2, by=user_id)
        elif what == "read":
            await store.advance_read(chats[place], user_id, seq, NOW_MS)
        else:
            await store.change_message(Delete(chats[place], seq, user_id, NOW_MS, others=True))
    for user_id in (ANN, BOB, CAT):
        page = await store.list_conversations(user_id, limit=1000, before=None)
        assert page.unread == sum(each.unread_count > 0 for each in page.summaries)
