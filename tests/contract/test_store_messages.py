"""append_message, list_messages and get_snapshot, as store/base.py promises them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from socketserver.chat.domain import ConversationId, Gap, MessageId, ReadMark, UserId, new_id
from socketserver.errors import ConversationNotFound, IdempotencyConflict
from socketserver.store import Store

import pytest
from support.stores import ANN, BOB, CAT, NOW_MS, Backend, bodies, group, message_draft, say, sequence

MISSING = ConversationId("missing")


async def test_messages_are_numbered_from_one_without_a_hole(store: Store) -> None:
    conversation_id = await group(store)
    results = [await store.append_message(message_draft(conversation_id, str(n))) for n in range(5)]
    assert [result.message.seq for result in results] == [1, 2, 3, 4, 5]
    assert [result.message.change for result in results] == [1, 2, 3, 4, 5]
    assert not any(result.duplicate for result in results)


async def test_what_is_returned_is_what_was_sent_and_what_is_read_back(store: Store) -> None:
    conversation_id = await group(store)
    draft = message_draft(conversation_id, "body", by=BOB, metadata={"a": [1, 2.5, None, True, {"b": "c"}]})
    message = (await store.append_message(draft)).message
    assert message.id == draft.id
    assert (message.conversation_id, message.sender_id) == (conversation_id, BOB)
    assert (message.idempotency_key, message.body) == (draft.idempotency_key, "body")
    assert (message.metadata, message.created_at_ms) == (draft.metadata, NOW_MS)
    assert (await store.list_messages(conversation_id, limit=10)).messages == (message,)


async def test_concurrent_calls_are_numbered_and_answered_in_the_order_in_which_they_were_made(store: Store) -> None:
    conversation_id = await group(store)
    answered: list[int] = []

    async def send(number: int) -> int:
        result = await store.append_message(message_draft(conversation_id, str(number)))
        answered.append(number)
        return result.message.seq

    seqs = await asyncio.gather(*(send(number) for number in range(2000)))
    assert seqs == list(range(1, 2001))
    assert answered == list(range(2000))


async def test_the_order_holds_for_every_one_of_many_conversations(store: Store) -> None:
    ids = [await group(store) for _ in range(20)]
    answered: dict[ConversationId, list[int]] = {conversation_id: [] for conversation_id in ids}

    async def send(conversation_id: ConversationId) -> None:
        answered[conversation_id].append((await store.append_message(message_draft(conversation_id))).message.seq)

    await asyncio.gather(*(send(conversation_id) for _ in range(40) for conversation_id in ids))
    for conversation_id in ids:
        assert answered[conversation_id] == list(range(1, 41))
        assert await sequence(store, conversation_id) == list(range(1, 41))


async def test_a_repeat_returns_the_first_message_and_costs_no_number(store: Store) -> None:
    conversation_id = await group(store)
    first = await store.append_message(message_draft(conversation_id, "once", key="k", metadata={"a": 1, "b": 2}))
    repeat = await store.append_message(
        message_draft(conversation_id, "once", key="k", metadata={"b": 2, "a": 1}, at_ms=NOW_MS + 5)
    )
    assert repeat.duplicate
    assert repeat.message == first.message
    assert (await store.append_message(message_draft(conversation_id))).message.seq == 2


async def test_concurrent_repeats_are_one_message_and_one_original(store: Store) -> None:
    conversation_id = await group(store)
    results = await asyncio.gather(
        *(store.append_message(message_draft(conversation_id, "once", key="k")) for _ in range(20))
    )
    assert [result.duplicate for result in results] == [False] + [True] * 19
    assert len({result.message.id for result in results}) == 1
    assert await sequence(store, conversation_id) == [1]


@pytest.mark.parametrize(
    ("body", "metadata"),
    [("other", {"a": 1}), ("same", None), ("same", {"a": True}), ("same", {"a": 1.0}), ("same", {"a": 1, "b": None})],
)
async def test_the_same_key_with_other_content_is_refused_and_costs_no_number(
    store: Store, body: str, metadata: dict[str, object] | None
) -> None:
    conversation_id = await group(store)
    await store.append_message(message_draft(conversation_id, "same", key="k", metadata={"a": 1}))
    with pytest.raises(IdempotencyConflict):
        await store.append_message(message_draft(conversation_id, body, key="k", metadata=metadata))
    assert (await store.append_message(message_draft(conversation_id))).message.seq == 2


async def test_refusals_among_concurrent_calls_disturb_nobody(store: Store) -> None:
    conversation_id = await group(store)
    await store.append_message(message_draft(conversation_id, "first", key="k"))
    drafts = [message_draft(conversation_id, str(number)) for number in range(30)]
    drafts[7] = message_draft(conversation_id, "not the first", key="k")
    drafts[13] = message_draft(MISSING)
    drafts[21] = message_draft(conversation_id, "first", key="k")
    results = await asyncio.gather(*(store.append_message(draft) for draft in drafts), return_exceptions=True)
    assert isinstance(results.pop(21), type(await store.append_message(drafts[21])))
    assert isinstance(results.pop(13), ConversationNotFound)
    assert isinstance(results.pop(7), IdempotencyConflict)
    seqs = [result.message.seq for result in results if not isinstance(result, BaseException)]
    assert seqs == list(range(2, 29))
    assert await sequence(store, conversation_id) == list(range(1, 29))


async def test_a_key_belongs_to_one_sender_in_one_conversation(store: Store) -> None:
    here, there = await group(store), await group(store)
    results = [
        await store.append_message(message_draft(conversation_id, by=by, key="k"))
        for conversation_id in (here, there)
        for by in (ANN, BOB)
    ]
    assert not any(result.duplicate for result in results)
    assert await sequence(store, here) == await sequence(store, there) == [1, 2]


async def test_a_message_to_a_missing_conversation_is_refused(store: Store) -> None:
    with pytest.raises(ConversationNotFound):
        await store.append_message(message_draft(MISSING))
    assert (await store.list_messages(MISSING, limit=10)).messages == ()


async def test_fifty_sends_of_one_key_from_two_stores_are_one_message(shared_backend: Backend) -> None:
    stores = [await shared_backend.open(), await shared_backend.open()]
    conversation_id = await group(stores[0])
    results = await asyncio.gather(
        *(stores[n % 2].append_message(message_draft(conversation_id, "once", key="k")) for n in range(50))
    )
    assert [result.duplicate for result in results].count(False) == 1
    assert all(result.message == results[0].message for result in results)
    assert await sequence(stores[1], conversation_id) == [1]


async def test_two_stores_that_write_to_one_conversation_make_one_dense_sequence(shared_backend: Backend) -> None:
    stores = [await shared_backend.open(), await shared_backend.open()]
    conversation_id = await group(stores[0])
    results = await asyncio.gather(
        *(store.append_message(message_draft(conversation_id)) for _ in range(40) for store in stores)
    )
    for own in (results[::2], results[1::2]):  # each store keeps the order of its own calls
        seqs = [result.message.seq for result in own]
        assert seqs == sorted(seqs)
    assert sorted(result.message.seq for result in results) == list(range(1, 81))
    assert await sequence(stores[0], conversation_id) == list(range(1, 81))


async def test_a_caller_that_is_cancelled_in_the_middle_of_a_commit_disturbs_nobody(store: Store) -> None:
    conversation_id = await group(store)
    calls = [asyncio.ensure_future(store.append_message(message_draft(conversation_id))) for _ in range(100)]
    cancelled = calls[::3]
    await asyncio.sleep(0)  # the calls are made; none has returned
    for call in cancelled:
        call.cancel()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results[::3])
    seqs = [result.message.seq for result in results if not isinstance(result, BaseException)]
    assert seqs == sorted(set(seqs))
    assert len(seqs) == 100 - len(cancelled)
    await store.append_message(message_draft(conversation_id))  # returns after all the calls before it
    stored = await sequence(store, conversation_id)
    assert stored == list(range(1, len(stored) + 1))
    assert set(seqs) < set(stored)


async def test_the_same_call_again_after_a_cancellation_tells_what_became_of_it(store: Store) -> None:
    conversation_id = await group(store)
    draft = message_draft(conversation_id)
    call = asyncio.ensure_future(store.append_message(draft))
    await asyncio.sleep(0)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    again = await store.append_message(replace(draft, id=MessageId(new_id())))
    assert again.message.seq == 1
    assert await sequence(store, conversation_id) == [1]


# -- list_messages


async def test_the_newest_page(store: Store) -> None:
    conversation_id = await group(store)
    await say(store, conversation_id, 5)
    page = await store.list_messages(conversation_id, limit=2)
    assert (bodies(page.messages), page.has_more) == (["4", "5"], True)
    page = await store.list_messages(conversation_id, limit=5)
    assert (bodies(page.messages), page.has_more) == (["1", "2", "3", "4", "5"], False)


@pytest.mark.parametrize(
    ("before_seq", "limit", "expected", "has_more"),
    [
        (6, 2, ["4", "5"], True),
        (5, 2, ["3", "4"], True),
        (3, 2, ["1", "2"], False),
        (2, 2, ["1"], False),
        (1, 2, [], False),
        (0, 2, [], False),
        (-1, 2, [], False),
        (1000, 5, ["1", "2", "3", "4", "5"], False),
        (10**30, 4, ["2", "3", "4", "5"], True),
    ],
)
async def test_pages_backward(store: Store, before_seq: int, limit: int, expected: list[str], has_more: bool) -> None:
    conversation_id = await group(store)
    await say(store, conversation_id, 5)
    page = await store.list_messages(conversation_id, before_seq=before_seq, limit=limit)
    assert (bodies(page.messages), page.has_more) == (expected, has_more)


@pytest.mark.parametrize(
    ("after_seq", "limit", "expected", "has_more"),
    [
        (-1, 2, ["1", "2"], True),
        (0, 2, ["1", "2"], True),
        (2, 2, ["3", "4"], True),
        (3, 2, ["4", "5"], False),
        (4, 2, ["5"], False),
        (5, 2, [], False),
        (1000, 2, [], False),
        (10**30, 2, [], False),
        (-(10**30), 5, ["1", "2", "3", "4", "5"], False),
    ],
)
async def test_pages_forward(store: Store, after_seq: int, limit: int, expected: list[str], has_more: bool) -> None:
    conversation_id = await group(store)
    await say(store, conversation_id, 5)
    page = await store.list_messages(conversation_id, after_seq=after_seq, limit=limit)
    assert (bodies(page.messages), page.has_more) == (expected, has_more)


async def test_a_page_in_both_directions_at_once_is_a_mistake_of_the_caller(store: Store) -> None:
    with pytest.raises(ValueError, match="after_seq"):
        await store.list_messages(MISSING, before_seq=3, after_seq=1, limit=1)


async def test_pages_of_one_conversation_show_nothing_of_another(store: Store) -> None:
    here, there = await group(store), await group(store)
    await say(store, there, 3)
    await say(store, here, 1, by=BOB)
    page = await store.list_messages(here, limit=10)
    assert [(message.sender_id, message.conversation_id) for message in page.messages] == [(BOB, here)]


# -- get_snapshot


async def test_the_snapshot_of_a_missing_conversation_is_none(store: Store) -> None:
    assert await store.get_snapshot(MISSING, after=None, limit=10) is None


async def test_the_snapshot_of_an_empty_conversation(store: Store) -> None:
    conversation_id = await group(store)
    for after in (None, 0, 7):
        snapshot = await store.get_snapshot(conversation_id, after=after, limit=10)
        assert snapshot is not None
        assert snapshot.conversation == await store.get_conversation(conversation_id)
        assert snapshot.read_marks == (ReadMark(ANN), ReadMark(BOB), ReadMark(CAT))
        assert (snapshot.messages, snapshot.last_seq, snapshot.change, snapshot.gap) == ((), 0, 0, None)


@pytest.mark.parametrize(
    ("after", "limit", "expected", "gap"),
    [
        (None, 2, ["4", "5"], None),
        (None, 5, ["1", "2", "3", "4", "5"], None),
        (0, 5, ["1", "2", "3", "4", "5"], None),
        (0, 4, ["2", "3", "4", "5"], Gap(1, 1)),
        (0, 2, ["4", "5"], Gap(1, 3)),
        (1, 4, ["2", "3", "4", "5"], None),
        (1, 3, ["3", "4", "5"], Gap(2, 2)),
        (3, 2, ["4", "5"], None),
        (3, 1, ["5"], Gap(4, 4)),
        (4, 1, ["5"], None),
        (5, 2, [], None),
        (6, 2, ["4", "5"], None),
        (10**30, 2, ["4", "5"], None),
        (-1, 2, ["4", "5"], Gap(1, 3)),
    ],
)
async def test_resuming(store: Store, after: int | None, limit: int, expected: list[str], gap: Gap | None) -> None:
    """All that was missed, or the newest of it and a gap that names the rest; from another past, the newest page."""
    conversation_id = await group(store)
    await say(store, conversation_id, 5)
    snapshot = await store.get_snapshot(conversation_id, after=after, limit=limit)
    assert snapshot is not None
    assert (bodies(snapshot.messages), snapshot.gap) == (expected, gap)
    assert (snapshot.last_seq, snapshot.change) == (5, 5)


async def test_a_snapshot_holds_everything_whose_append_has_returned_and_is_of_one_moment(store: Store) -> None:
    conversation_id = await group(store)
    returned = 0
    looks = 0

    async def write() -> None:
        nonlocal returned
        for _ in range(60):
            returned = (await store.append_message(message_draft(conversation_id))).message.seq

    async def look() -> None:
        nonlocal looks
        while returned < 60:
            known = returned
            snapshot = await store.get_snapshot(conversation_id, after=0, limit=100)
            assert snapshot is not None
            seqs = [message.seq for message in snapshot.messages]
            assert snapshot.last_seq >= known
            assert seqs == list(range(1, snapshot.last_seq + 1))
            assert snapshot.change == snapshot.last_seq
            looks += 1

    await asyncio.gather(write(), look())
    assert looks > 1


async def test_a_message_written_by_one_store_is_seen_by_another_at_once(shared_backend: Backend) -> None:
    writer, reader = await shared_backend.open(), await shared_backend.open()
    conversation_id = await group(writer)
    for number in range(1, 6):
        await writer.append_message(message_draft(conversation_id))
        snapshot = await reader.get_snapshot(conversation_id, after=None, limit=1)
        assert snapshot is not None
        assert snapshot.last_seq == number


# -- what a message does to its sender's mark


async def test_sending_counts_as_reading(store: Store) -> None:
    conversation_id = await group(store)
    await say(store, conversation_id, 2, by=BOB)
    message = (await store.append_message(message_draft(conversation_id, at_ms=NOW_MS + 9))).message
    snapshot = await store.get_snapshot(conversation_id, after=None, limit=1)
    assert snapshot is not None
    marks = (ReadMark(ANN, message.seq, NOW_MS + 9), ReadMark(BOB, 2, NOW_MS + 2), ReadMark(CAT))
    assert snapshot.read_marks == marks


async def test_a_repeat_does_not_move_the_senders_mark(store: Store) -> None:
    conversation_id = await group(store)
    await store.append_message(message_draft(conversation_id, key="k"))
    await say(store, conversation_id, 2, by=BOB)
    await store.append_message(message_draft(conversation_id, key="k"))
    mark = (await store.advance_read(conversation_id, ANN, 0, NOW_MS)).mark
    assert mark.read_seq == 1


async def test_users_that_differ_in_case_or_trailing_space_are_different_users(store: Store) -> None:
    people = [UserId("Ann"), UserId("ann "), UserId("ANN")]
    conversation_id = await group(store, *people)
    for user_id in (ANN, *people):
        assert not (await store.append_message(message_draft(conversation_id, by=user_id, key="k"))).duplicate
