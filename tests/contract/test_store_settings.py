"""set_settings and list_settings, as store/base.py promises them, and what reading does to them."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from socketserver.chat.domain import ConversationId, UserId
from socketserver.chat.own_settings import UNSETTLED, OwnSettings, SettingsUpdate
from socketserver.errors import ConversationNotFound
from socketserver.store import Copyable, Store, open_store
from socketserver.store.sqlite.schema import APPLICATION_ID, MIGRATIONS

import pytest
from support.stores import ANN, BOB, CAT, NOW_MS, Backend, group, say

MISSING = ConversationId("missing")
MARKED = SettingsUpdate(marked_unread=True)


async def seen(store: Store, where: ConversationId, user_id: UserId) -> OwnSettings:
    """A participant's own settings, the same in a list and in a snapshot."""
    page = await store.list_conversations(user_id, limit=50, before=None)
    (listed,) = [each.settings for each in page.summaries if each.conversation.id == where]
    for participants in (None, 1):
        snapshot = await store.get_snapshot(where, after=None, limit=1, reader=user_id, participants=participants)
        assert snapshot
        assert snapshot.settings == listed
    return listed


async def test_each_field_is_set_and_the_others_stay(store: Store) -> None:
    here, there = await group(store), await group(store)
    assert await seen(store, here, BOB) == UNSETTLED
    for update, expected in (
        (SettingsUpdate(muted=True), OwnSettings(muted=True)),
        (SettingsUpdate(pinned=True, archived=True), OwnSettings(muted=True, pinned=True, archived=True)),
        (SettingsUpdate(marked_unread=True, muted=False), OwnSettings(False, True, True, True)),
        (SettingsUpdate(), OwnSettings(False, True, True, True)),
        (SettingsUpdate(marked_unread=False, archived=False), OwnSettings(pinned=True)),
        (SettingsUpdate(pinned=False), UNSETTLED),
    ):
        assert await store.set_settings(here, BOB, update) == expected
        assert await seen(store, here, BOB) == expected
    await store.set_settings(here, ANN, SettingsUpdate(muted=True))
    assert [await seen(store, where, user) for where, user in ((here, BOB), (here, CAT), (there, ANN))] == [
        UNSETTLED
    ] * 3


@pytest.mark.parametrize("user", ["$ann", "a.b", "$", "ann.$", "\U0001f600"])
async def test_users_and_settings_of_any_name(store: Store, user: str) -> None:
    """A list of somebody whose id is a field path in MongoDB's language had another participant's read mark."""
    odd = UserId(user)
    here = await group(store, odd, BOB)
    await say(store, here, 3)
    await store.advance_read(here, odd, 2, NOW_MS)
    assert await store.set_settings(here, odd, SettingsUpdate(pinned=True)) == OwnSettings(pinned=True)
    assert await seen(store, here, odd) == OwnSettings(pinned=True)
    page = await store.list_conversations(odd, limit=1, before=None)
    assert (page.summaries[0].read_seq, page.unread) == (2, 1)


async def test_who_takes_no_part_settles_nothing(store: Store) -> None:
    here = await group(store)
    for where, who in ((here, UserId("dan")), (MISSING, ANN)):
        with pytest.raises(ConversationNotFound):
            await store.set_settings(where, who, MARKED)


async def test_calls_at_once_count_in_their_order(store: Store) -> None:
    """Each field is what the last call that names it says; refusals among them disturb nobody."""
    here = await group(store)
    results = await asyncio.gather(
        store.set_settings(here, BOB, SettingsUpdate(muted=True)),
        store.set_settings(here, UserId("dan"), SettingsUpdate(muted=True)),
        store.set_settings(here, BOB, SettingsUpdate(pinned=True)),
        store.set_settings(MISSING, BOB, SettingsUpdate(pinned=True)),
        store.set_settings(here, CAT, SettingsUpdate(archived=True)),
        store.set_settings(here, BOB, SettingsUpdate(muted=False)),
        return_exceptions=True,
    )
    assert isinstance(results[1], ConversationNotFound)
    assert isinstance(results[3], ConversationNotFound)
    assert results[5] == await seen(store, here, BOB) == OwnSettings(pinned=True)
    assert results[4] == await seen(store, here, CAT) == OwnSettings(archived=True)


async def test_two_stores_settle_different_things_at_once(shared_backend: Backend) -> None:
    one, two = await shared_backend.open(), await shared_backend.open()
    here = await group(one)
    for _ in range(5):
        await asyncio.gather(
            *(one.set_settings(here, user, SettingsUpdate(muted=True)) for user in (ANN, BOB, CAT)),
            *(two.set_settings(here, user, SettingsUpdate(pinned=True)) for user in (ANN, BOB, CAT)),
        )
        for user in (ANN, BOB, CAT):
            assert await seen(one, here, user) == OwnSettings(muted=True, pinned=True)
            await two.set_settings(here, user, SettingsUpdate(muted=False, pinned=False))


# -- marked as unread


async def marked(store: Store, *, read: int = 3) -> ConversationId:
    """Three messages of ann's, of which bob has read some, and marks the conversation."""
    here = await group(store)
    await say(store, here, 3)
    await store.advance_read(here, BOB, read, NOW_MS)
    assert await store.set_settings(here, BOB, SettingsUpdate(muted=True, marked_unread=True)) == OwnSettings(
        muted=True, marked_unread=True
    )
    return here


@pytest.mark.parametrize("seq", [3, 2**53])
async def test_reading_ends_it_also_where_all_was_read(store: Store, seq: int) -> None:
    here = await marked(store)
    advance = await store.advance_read(here, BOB, seq, NOW_MS)
    assert (advance.advanced, advance.unmarked) == (False, OwnSettings(muted=True))
    assert await seen(store, here, BOB) == OwnSettings(muted=True)
    assert (await store.advance_read(here, BOB, 3, NOW_MS)).unmarked is None


async def test_reading_on_ends_it(store: Store) -> None:
    here = await marked(store, read=1)
    advance = await store.advance_read(here, BOB, 2, NOW_MS)
    assert (advance.advanced, advance.unmarked) == (True, OwnSettings(muted=True))
    assert await seen(store, here, BOB) == OwnSettings(muted=True)


async def test_what_was_read_before_does_not_end_it_nor_does_another_reader(store: Store) -> None:
    """A device that comes back says again what it had read."""
    here = await marked(store)
    assert (await store.advance_read(here, BOB, 2, NOW_MS)).unmarked is None
    assert (await store.advance_read(here, CAT, 3, NOW_MS)).unmarked is None
    await say(store, here, 1)
    assert (await seen(store, here, BOB)).marked_unread


async def test_ones_own_message_ends_it(store: Store) -> None:
    here = await marked(store)
    await say(store, here, 1, by=BOB)
    assert await seen(store, here, BOB) == OwnSettings(muted=True)
    assert (await store.advance_read(here, BOB, 4, NOW_MS)).unmarked is None
    await store.set_settings(here, BOB, MARKED)
    assert (await seen(store, here, BOB)).marked_unread
    await say(store, here, 70, by=BOB)  # enough for read marks to be folded
    assert not (await seen(store, here, BOB)).marked_unread


async def test_of_readers_at_once_the_first_is_told(store: Store) -> None:
    here = await marked(store)
    results = await asyncio.gather(*(store.advance_read(here, BOB, 3, NOW_MS) for _ in range(3)))
    assert [each.unmarked for each in results] == [OwnSettings(muted=True), None, None]


async def test_all_settings_of_a_conversation(store: Copyable) -> None:
    here = await marked(store)
    await store.set_settings(here, ANN, SettingsUpdate(pinned=True))
    await store.set_settings(here, CAT, SettingsUpdate(pinned=True))
    await store.set_settings(here, CAT, SettingsUpdate(pinned=False))
    assert await store.list_settings(here) == {
        ANN: OwnSettings(pinned=True),
        BOB: OwnSettings(muted=True, marked_unread=True),
    }
    assert await store.list_settings(MISSING) == await store.list_settings(await group(store)) == {}


async def test_a_sqlite_file_without_settings_is_taken_up(tmp_path: Path) -> None:
    """Nobody had settled anything; and who was mentioned is found among the messages."""
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as old:
        for script in MIGRATIONS[:5]:
            old.executescript(script)
        old.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        old.execute("PRAGMA user_version = 5")
        old.execute(
            "INSERT INTO conversation"
            " (num, id, kind, created_by, created_at_ms, activity_at_ms, last_seq, last_change)"
            " VALUES (1, 'c', 'group', 'ann', ?, ?, 3, 3)",
            (NOW_MS, NOW_MS),
        )
        old.executemany("INSERT INTO participant (conversation, user_id) VALUES (1, ?)", [(ANN,), (BOB,)])
        extras = [None, '{"mentions":["bob","ann"]}', '{"reply_to":1,"mentions":["bob"]}']
        old.executemany(
            "INSERT INTO message"
            " (conversation, seq, change, id, sender_id, idempotency_key, body, created_at_ms, extra)"
            " VALUES (1, ?, ?, ?, 'ann', ?, 'x', 1, ?)",
            [(seq, seq, f"m{seq}", f"k{seq}", extra) for seq, extra in enumerate(extras, 1)],
        )
        old.commit()
    store = open_store(f"sqlite:///{path}")
    await store.open()
    (summary,) = (await store.list_conversations(BOB, limit=1, before=None)).summaries
    assert (summary.settings, summary.unread_mentions) == (UNSETTLED, 2)
    await store.close()
