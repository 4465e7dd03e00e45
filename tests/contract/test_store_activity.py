"""The order of lists where clocks go back: what a store keeps of it, and how an earlier version's database goes on."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from socketserver.chat.changes import Edit
from socketserver.chat.domain import ConversationId
from socketserver.store import Copyable, Store, open_store
from socketserver.store.copying import copy_store
from socketserver.store.sqlite.schema import APPLICATION_ID, MIGRATIONS
from typing import Any

from pymongo import MongoClient
from support.stores import ANN, BOB, CAT, NOW_MS, Backend, conversation_draft, group, message_draft, say

DAY_MS = 86_400_000


async def listed(store: Store) -> list[ConversationId]:
    page = await store.list_conversations(ANN, limit=10, before=None)
    return [summary.conversation.id for summary in page.summaries]


async def wind(store: Store) -> list[ConversationId]:
    """Three conversations: two of a day ahead, the second without a message, and one after the clock was set right."""
    first = await group(store)
    await store.append_message(message_draft(first, at_ms=NOW_MS + DAY_MS))
    second = conversation_draft(BOB, CAT, title="ahead", at_ms=NOW_MS + DAY_MS + 1)
    await store.create_conversation(second)
    third = await group(store)
    draft = replace(message_draft(third, at_ms=NOW_MS + 5), activity_at_ms=NOW_MS + DAY_MS + 2)
    message = (await store.append_message(draft)).message
    assert message.created_at_ms == NOW_MS + 5
    return [third, second.id, first]


async def test_a_list_is_in_the_order_of_activity_whatever_the_times_say(store: Store) -> None:
    """After the clock had been a day ahead the list was in the wrong order for a day."""
    wound = await wind(store)
    assert await listed(store) == wound
    page = await store.list_conversations(ANN, limit=1, before=(NOW_MS + DAY_MS + 2, wound[0]))
    assert [summary.conversation.id for summary in page.summaries] == wound[1:2]
    last = await store.list_messages(wound[0], limit=1)
    assert last.messages[0].created_at_ms == NOW_MS + 5


async def test_the_newest_activity(backend: Backend) -> None:
    """Of messages and of empty conversations; a process that starts goes on from there."""
    store = await backend.open()
    assert await store.newest_activity() == 0
    wound = await wind(store)
    assert await store.newest_activity() == NOW_MS + DAY_MS + 2
    await store.create_conversation(replace(conversation_draft(BOB), activity_at_ms=NOW_MS + DAY_MS + 9))
    assert await store.newest_activity() == NOW_MS + DAY_MS + 9
    for step in range(3):  # by a clock that is right again
        draft = replace(message_draft(wound[2], at_ms=NOW_MS + step), activity_at_ms=NOW_MS + DAY_MS + 10 + step)
        await store.append_message(draft)
        assert await store.newest_activity() == NOW_MS + DAY_MS + 10 + step


async def test_a_copy_has_the_same_order(backend: Backend) -> None:
    """In both directions, and after an interruption."""
    source = open_store("sqlite:///:memory:")
    await source.open()
    target = await backend.open()
    wound = await wind(source)
    await copy_store(source, target, lambda progress: None)
    assert await listed(target) == wound
    for conversation_id in (wound[2], wound[1]):
        place_ms = await source.newest_activity() + 1
        draft = replace(message_draft(conversation_id, at_ms=NOW_MS + 7), activity_at_ms=place_ms)
        await source.append_message(draft)
    await copy_store(source, target, lambda progress: None)
    assert await listed(target) == await listed(source) == [wound[1], wound[2], wound[0]]
    back = open_store("sqlite:///:memory:")
    await back.open()
    await copy_store(target, back, lambda progress: None)
    assert await listed(back) == await listed(source)
    for store in (source, back):
        await store.close()


async def test_a_sqlite_file_of_the_first_schema_is_taken_up(tmp_path: Path) -> None:
    """Its conversations, their participants and order are there, and it goes on."""
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as old:
        old.executescript(MIGRATIONS[0])
        old.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        old.execute("PRAGMA user_version = 1")
        for num, people in enumerate(["ann bob", "ann bob cat", "ann cat"], 1):
            old.execute(
                "INSERT INTO conversation VALUES (?, ?, 'group', NULL, 'ann', ?, NULL, 0, 0, ?)",
                (num, f"c{num}", NOW_MS, NOW_MS + num),
            )
            for user_id in people.split():
                old.execute("INSERT INTO participant (conversation, user_id) VALUES (?, ?)", (num, user_id))
        old.commit()
    store: Copyable = open_store(f"sqlite:///{path}")
    await store.open()
    page = await store.list_conversations(ANN, limit=10, before=None, participants=2)
    assert [(each.conversation.id, each.conversation.participant_count) for each in page.summaries] == [
        ("c3", 2),
        ("c2", 3),
        ("c1", 2),
    ]
    await say(store, ConversationId("c1"), 2)
    # A server of the earlier version may still be running, and knows nothing of the new column.
    with closing(sqlite3.connect(path)) as old:
        old.execute(
            "INSERT INTO conversation (num, id, kind, created_by, created_at_ms, activity_at_ms)"
            " VALUES (4, 'c4', 'group', 'ann', 1, 1)"
        )
        old.executemany("INSERT INTO participant (conversation, user_id) VALUES (4, ?)", [("ann",), ("bob",)])
        old.commit()
    found = await store.get_conversation(ConversationId("c4"))
    assert found is not None
    assert (found.participant_ids, found.participant_count) == ((ANN, BOB), 2)
    await store.close()


async def test_a_sqlite_file_from_before_messages_could_change_is_taken_up(tmp_path: Path) -> None:
    """Its messages are there, in their order and with their numbers; and now they can be changed."""
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as old:
        for script in MIGRATIONS[:2]:
            old.executescript(script)
        old.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        old.execute("PRAGMA user_version = 2")
        for num in (1, 2):
            old.execute(
                "INSERT INTO conversation VALUES (?, ?, 'group', NULL, 'ann', 1, NULL, 3, 3, ?, 2)",
                (num, f"c{num}", NOW_MS),
            )
            old.executemany("INSERT INTO participant VALUES (?, ?, 3, 5)", [(num, "ann"), (num, "bob")])
        for seq in (1, 2, 3):
            for num in (1, 2):
                old.execute(
                    "INSERT INTO message VALUES (?, ?, ?, ?, 'ann', ?, ?, ?, ?)",
                    (num, seq, seq, f"m{num}.{seq}", f"k{seq}", f"body {seq}", '{"a":1}', NOW_MS),
                )
        old.commit()
    store: Copyable = open_store(f"sqlite:///{path}")
    await store.open()
    here = ConversationId("c1")
    page = await store.list_messages(here, limit=10)
    assert [(each.id, each.seq, each.change, each.body, each.metadata) for each in page.messages] == [
        (f"m1.{seq}", seq, seq, f"body {seq}", {"a": 1}) for seq in (1, 2, 3)
    ]
    changed = await store.change_message(Edit(here, 2, ANN, "e", "edited", NOW_MS))
    assert changed.message
    assert (changed.message.change, changed.message.body) == (4, "edited")
    assert (await store.append_message(message_draft(here, "body 1", key="k1", metadata={"a": 1}))).duplicate
    appended = (await store.append_message(message_draft(here))).message
    assert (appended.seq, appended.change) == (4, 5)
    await store.close()
    with closing(sqlite3.connect(path)) as now:
        assert now.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert now.execute("PRAGMA foreign_key_check").fetchall() == []


async def test_mongodb_documents_of_the_first_version_are_taken_up(shared_backend: Backend) -> None:
    """They have no activity of their own: that of an empty conversation is its creation."""
    store = await shared_backend.open()
    if shared_backend.name != "mongo":
        return
    old, new = await group(store, at_ms=NOW_MS + 1), await group(store, at_ms=NOW_MS + 2)
    with MongoClient[dict[str, Any]](shared_backend.url) as client:
        client.get_default_database().conversations.update_many({}, {"$unset": {"activity_at_ms": 1}})
    assert await listed(store) == [new, old]
    assert [draft.activity_at_ms for draft in await store.list_drafts(after=None, limit=1)] != [None]
    await say(store, old, 3)
    assert await listed(store) == [old, new]
    assert await store.newest_activity() == NOW_MS + 3
