"""list_readers, as store/base.py promises it."""

from __future__ import annotations

from socketserver.chat.domain import ConversationId, UserId
from socketserver.store import Store

from support.stores import ANN, BOB, CAT, NOW_MS, group, message_draft


async def test_who_has_read_or_written(store: Store) -> None:
    """Those whose read mark is above 0, by reading or by writing; nobody else, and nothing that does not exist."""
    first, second = await group(store), await group(store)
    everybody = [(each, user) for each in (first, second) for user in (ANN, BOB, CAT)]
    assert await store.list_readers(everybody) == frozenset()
    await store.append_message(message_draft(first, "hello", by=ANN))
    await store.advance_read(first, BOB, 1, NOW_MS)
    await store.append_message(message_draft(second, "hello", by=CAT))
    assert await store.list_readers(everybody) == {(first, ANN), (first, BOB), (second, CAT)}
    strangers = [(first, UserId("eve")), (ConversationId("missing"), ANN)]
    assert await store.list_readers([*strangers, (first, BOB), (first, CAT), (first, BOB)]) == {(first, BOB)}
    assert await store.list_readers([]) == frozenset()


async def test_many_at_once(store: Store) -> None:
    """As many as a page has."""
    ids = [await group(store) for _ in range(201)]
    for conversation_id in ids[::2]:
        await store.append_message(message_draft(conversation_id, "hello", by=BOB))
    parts = [(conversation_id, user) for conversation_id in ids for user in (ANN, BOB)]
    assert await store.list_readers(parts) == {(conversation_id, BOB) for conversation_id in ids[::2]}
