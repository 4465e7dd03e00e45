"""What a store must hold and give back unchanged, and its life: open, check, close, open again."""

from __future__ import annotations

import asyncio
import json
from socketserver.chat.domain import ConversationId, UserId
from socketserver.chat.identity import Profile, ProfileUpdate
from socketserver.errors import StoreUnavailable
from socketserver.store import Store
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.stores import ANN, NOW_MS, Backend, conversation_draft, group, message_draft, say, sequence

HOSTILE = {
    "operator": "$ne",
    "operator document": '{"$gt": ""}',
    "field path": "a.b.$.c",
    "nul": "a\x00b",
    "only nul": "\x00",
    "leading nul": "\x00$where",
    "quotes": "'; DROP TABLE message; --\"",
    "emoji": "👩‍👩‍👧‍👦 ไทย עברית",
    "astral": "\U0010ffff",
    "noncharacters": "\ufffe\uffff\ufeff",
    "separators": "\u2028\u2029\r\n\t\x7f\x1f",
    "not normalised": "e\u0301 \u00e9",
    "blank": " ",
    "long": "x" * 20_000,
    "percent": "%s {0} {values} ?1 :name",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
async def test_every_text_comes_back_as_it_went_in_wherever_it_stands(store: Store, text: str) -> None:
    user_id, conversation_id = UserId(text), ConversationId(text)
    draft = conversation_draft(user_id, title=text, key=text, conversation_id=text)
    created = await store.create_conversation(draft)
    assert (created.conversation.title, created.conversation.id) == (text, text)
    assert set(created.conversation.participant_ids) == {ANN, user_id}
    assert await store.get_conversation(conversation_id) == created.conversation
    assert (await store.create_conversation(draft)).duplicate

    metadata: dict[str, Any] = {text: text, "nested": {text: [text, {text: text}]}}
    sent = message_draft(conversation_id, text, by=user_id, key=text, metadata=metadata)
    message = (await store.append_message(sent)).message
    page = await store.list_messages(conversation_id, limit=1)
    assert page.messages == (message,)
    assert page.messages[0].body == text
    assert page.messages[0].metadata == metadata
    assert (await store.append_message(sent)).duplicate

    snapshot = await store.get_snapshot(conversation_id, after=0, limit=5)
    assert snapshot is not None
    assert {mark.user_id: mark.read_seq for mark in snapshot.read_marks} == {ANN: 0, user_id: 1}
    assert (await store.advance_read(conversation_id, user_id, 1, NOW_MS)).mark.read_seq == 1
    (summary,) = (await store.list_conversations(user_id, limit=5, before=None)).summaries
    assert summary.last_message == message

    await store.set_profile(ProfileUpdate(user_id, text, text))
    assert list(await store.get_profiles([user_id])) == [Profile(user_id, text, text)]


async def test_texts_that_differ_only_after_a_nul_are_different(store: Store) -> None:
    conversation_id = await group(store)
    for key in ("a", "a\x00", "a\x00b", "a\x00c"):
        assert not (await store.append_message(message_draft(conversation_id, key=key))).duplicate


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"": ""},
        {"$set": {"body": "x"}, "a.b": {"$gt": 1}, "_id": 5, "$ref": "x"},
        {"numbers": [0, -0.0, 1e300, 5e-324, 2**53 + 1, -(2**63), 2**64, 10**40, 0.1]},
        {"many": {str(n): n for n in range(2000)}},
        {"deep": json.loads("[" * 200 + "]" * 200)},
        {"date": {"$date": "2024-01-01"}, "oid": {"$oid": "0" * 24}},
    ],
    ids=["empty", "empty key", "operators", "numbers", "many", "deep", "extended json"],
)
async def test_metadata_comes_back_as_equal_json(store: Store, metadata: dict[str, Any]) -> None:
    conversation_id = await group(store)
    await store.append_message(message_draft(conversation_id, metadata=metadata))
    (message,) = (await store.list_messages(conversation_id, limit=1)).messages
    assert json.dumps(message.metadata) == json.dumps(metadata)


async def test_metadata_that_is_not_json_is_a_mistake_of_the_caller_and_stores_nothing(store: Store) -> None:
    conversation_id = await group(store)
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="JSON"):
            await store.append_message(message_draft(conversation_id, metadata={"a": value}))
    assert await sequence(store, conversation_id) == []


async def test_a_lone_surrogate_is_refused_and_disturbs_nobody(store: Store) -> None:
    """The protocol refuses it before; a store must at least not let it spoil a commit that others share."""
    conversation_id = await group(store)
    drafts = [message_draft(conversation_id, str(number)) for number in range(9)]
    drafts[4] = message_draft(conversation_id, "\ud83d")
    results = await asyncio.gather(*(store.append_message(draft) for draft in drafts), return_exceptions=True)
    assert isinstance(results.pop(4), ValueError)
    assert [result.message.seq for result in results if not isinstance(result, BaseException)] == list(range(1, 9))
    assert await sequence(store, conversation_id) == list(range(1, 9))
    with pytest.raises(ValueError, match="store"):
        await store.get_conversation(ConversationId("\ud83d"))


async def test_a_number_beyond_64_bits_is_refused_and_disturbs_nobody(store: Store) -> None:
    conversation_id = await group(store)
    results = await asyncio.gather(
        store.append_message(message_draft(conversation_id, at_ms=2**63)),
        store.append_message(message_draft(conversation_id)),
        return_exceptions=True,
    )
    assert isinstance(results[0], ValueError)
    assert await sequence(store, conversation_id) == [1]


async def test_a_large_message(store: Store) -> None:
    conversation_id = await group(store)
    body = "é" * 500_000
    await store.append_message(message_draft(conversation_id, body, metadata={"also": body}))
    (message,) = (await store.list_messages(conversation_id, limit=1)).messages
    assert message.body == body
    assert message.metadata == {"also": body}


_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=4),
    max_leaves=12,
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(body=_texts, key=_texts, metadata=st.none() | st.dictionaries(_texts, _json, max_size=4))
async def test_any_text_and_any_metadata_come_back(
    backend: Backend, body: str, key: str, metadata: dict[str, Any] | None
) -> None:
    store = backend.stores[0] if backend.stores else await backend.open()
    conversation_id = await group(store)
    sent = message_draft(conversation_id, body, key=key or "-", metadata=metadata)
    message = (await store.append_message(sent)).message
    (stored,) = (await store.list_messages(conversation_id, limit=2)).messages
    assert stored == message
    assert (stored.body, stored.idempotency_key) == (body, sent.idempotency_key)
    assert json.dumps(stored.metadata) == json.dumps(metadata)


# -- a store's life


async def test_a_store_that_is_not_open_is_unavailable(backend: Backend) -> None:
    from socketserver.store import open_store

    await _assert_unavailable(open_store(backend.url))


async def test_a_closed_store_is_unavailable_and_closing_twice_is_harmless(backend: Backend) -> None:
    store = await backend.open()
    await asyncio.gather(store.close(), store.close())
    await store.close()
    await _assert_unavailable(store)


async def _assert_unavailable(store: Store) -> None:
    conversation_id = ConversationId("c")
    calls = [
        store.check(),
        store.create_conversation(conversation_draft()),
        store.get_conversation(conversation_id),
        store.get_snapshot(conversation_id, after=None, limit=1),
        store.list_conversations(ANN, limit=1, before=None),
        store.append_message(message_draft(conversation_id)),
        store.list_messages(conversation_id, limit=1),
        store.advance_read(conversation_id, ANN, 1, NOW_MS),
    ]
    for call in calls:
        with pytest.raises(StoreUnavailable):
            await call


async def test_an_open_store_that_can_be_written_passes_its_check(store: Store) -> None:
    await store.check()
    await store.open()  # open already: nothing happens
    await store.check()


async def test_closing_finishes_the_writes_under_way(shared_backend: Backend) -> None:
    store = await shared_backend.open()
    conversation_id = await group(store)
    calls = [asyncio.ensure_future(store.append_message(message_draft(conversation_id))) for _ in range(50)]
    await asyncio.sleep(0)
    await store.close()
    results = await asyncio.gather(*calls)
    assert [result.message.seq for result in results] == list(range(1, 51))
    again = await shared_backend.open()
    assert await sequence(again, conversation_id) == list(range(1, 51))


async def test_everything_is_there_after_closing_and_opening_again(shared_backend: Backend) -> None:
    store = await shared_backend.open()
    conversation_id = await group(store)
    await say(store, conversation_id, 7)
    await store.advance_read(conversation_id, UserId("bob"), 4, NOW_MS)
    before = (
        await store.get_snapshot(conversation_id, after=0, limit=100),
        await store.list_conversations(UserId("bob"), limit=5, before=None),
    )
    await store.close()
    await store.open()
    after = (
        await store.get_snapshot(conversation_id, after=0, limit=100),
        await store.list_conversations(UserId("bob"), limit=5, before=None),
    )
    assert after == before
    assert (await store.append_message(message_draft(conversation_id))).message.seq == 8
