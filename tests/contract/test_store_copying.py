"""Copying everything from one store into another: each kind is the source once, and the target once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from socketserver.chat.changes import Delete, Edit, React
from socketserver.chat.domain import ConversationId, Message, UserId
from socketserver.chat.identity import Profile, ProfileUpdate
from socketserver.chat.own_settings import SettingsUpdate
from socketserver.errors import StoreUnavailable
from socketserver.store import Copyable, Store, open_store
from socketserver.store.copying import CopyError, Progress, copy_store
from socketserver.store.results import Counts

import pytest
from support.stores import (
    ANN,
    BOB,
    CAT,
    NOW_MS,
    Backend,
    adding,
    conversation_draft,
    giving,
    group,
    message_draft,
    removing,
    say,
    updating,
)


@pytest.fixture
async def memory() -> AsyncIterator[Copyable]:
    """The other end."""
    store = open_store("sqlite:///:memory:")
    await store.open()
    yield store
    await store.close()


def silent(_: Progress) -> None:
    """Nobody looks at the progress."""


async def fill(store: Store) -> list[ConversationId]:
    """Everything that there can be."""
    direct = (await store.create_conversation(conversation_draft(BOB))).conversation.id
    keyed = (await store.create_conversation(conversation_draft(BOB, CAT, key="k"))).conversation.id
    empty = await group(store)
    busy = await group(store)
    await say(store, busy, 40)
    await say(store, busy, 30, by=BOB)
    await store.advance_read(busy, CAT, 33, NOW_MS + 99)
    await store.advance_read(busy, ANN, 50, NOW_MS + 98)
    hostile = {"$set": {"a.b": [1, 2**70, None, "\x00"]}}
    await store.append_message(message_draft(direct, "a\x00b", by=BOB, key="$ne", metadata=hostile, at_ms=NOW_MS + 5))
    await store.append_message(message_draft(direct, "before", at_ms=NOW_MS - 5))
    await store.append_message(message_draft(keyed))
    for seq, on in ((3, True), (3, False), (70, True), (12, True)):
        await store.change_message(React(busy, seq, CAT, "👍", on))
    await store.change_message(React(busy, 70, BOB, "👍", True))
    await store.change_message(Edit(busy, 5, ANN, "e", "other", NOW_MS + 50, {"a": 1}, (BOB,)))
    await store.change_message(Delete(busy, 6, ANN, NOW_MS + 51))
    await store.append_message(replace(message_draft(keyed), mentions=(CAT, BOB)))
    await store.set_settings(busy, CAT, SettingsUpdate(muted=True, marked_unread=True))
    await store.set_settings(busy, BOB, SettingsUpdate(pinned=True))
    await store.set_settings(empty, ANN, SettingsUpdate(archived=True, marked_unread=True))
    await store.change_conversation(adding(busy, UserId("dan"), UserId("eve"), history="none", key="k"))
    await store.advance_read(busy, UserId("eve"), 71, NOW_MS + 97)
    await store.change_conversation(removing(busy, BOB))
    await store.change_conversation(giving(busy, CAT, "admin"))
    await store.change_conversation(updating(busy, title=None, metadata=hostile))
    await store.change_message(React(busy, 73, CAT, "👍", True))
    await store.change_conversation(removing(keyed, ANN, by=ANN))
    await store.set_profile(ProfileUpdate(ANN, "Ann\x00 😀", "https://example.com/ann.png"))
    await store.set_profile(ProfileUpdate(CAT))
    return [direct, keyed, empty, busy]


async def seen(store: Copyable, ids: list[ConversationId]) -> object:
    """What anybody can see of these conversations."""
    return (
        [await store.get_snapshot(each, after=0, limit=500) for each in ids],
        [await store.get_snapshot(each, after=40, limit=500) for each in ids],
        [await store.list_changes(each, after=0, limit=500) for each in ids],
        [await store.list_settings(each) for each in ids],
        [await store.list_conversations(user_id, limit=10, before=None) for user_id in (ANN, BOB, CAT, UserId("eve"))],
        [await store.get_conversation(each) for each in ids],
        await store.list_profiles(after=None, limit=10),
    )


async def test_everything_arrives_as_it_was(backend: Backend, memory: Copyable) -> None:
    source, target = memory, await backend.open()
    ids = await fill(source)
    steps: list[Progress] = []
    assert await copy_store(source, target, steps.append) == Counts(4, 79, 2)
    assert await seen(target, ids) == await seen(source, ids)
    assert (steps[0].step, steps[0].done, steps[0].total) == ("copy", 0, 79)
    assert (steps[-1].step, steps[-1].done, steps[-1].total) == ("verify", 79, 79)


async def test_everything_leaves_as_it_was(store: Copyable, memory: Copyable) -> None:
    ids = await fill(store)
    assert await copy_store(store, memory, silent) == Counts(4, 79, 2)
    assert await seen(memory, ids) == await seen(store, ids)


async def test_what_meant_the_same_before_means_the_same_after(backend: Backend, memory: Copyable) -> None:
    await fill(memory)
    target = await backend.open()
    await copy_store(memory, target, silent)
    assert (await target.create_conversation(conversation_draft(ANN, by=BOB))).duplicate
    assert (await target.create_conversation(conversation_draft(BOB, CAT, key="k"))).duplicate


async def test_an_interrupted_copy_is_started_again(
    backend: Backend, memory: Copyable, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await fill(memory)
    target = await backend.open()
    real = target.copy_messages

    async def fails_half_way(messages: Sequence[Message], activity_at_ms: int) -> None:
        if len(messages) > 20:
            await real(messages[:20], activity_at_ms)
            raise StoreUnavailable
        await real(messages, activity_at_ms)

    with monkeypatch.context() as patch:
        patch.setattr(target, "copy_messages", fails_half_way)
        with pytest.raises(StoreUnavailable):
            await copy_store(memory, target, silent)
    for _ in range(2):  # and once more, with nothing left to do
        assert await copy_store(memory, target, silent) == Counts(4, 79, 2)
    assert await seen(target, ids) == await seen(memory, ids)


async def test_a_copy_that_is_started_again_takes_how_people_have_changed(store: Copyable, memory: Copyable) -> None:
    """But not if they have changed in the target too."""
    here = await group(memory)
    await say(memory, here, 2)
    await copy_store(memory, store, silent)
    await memory.change_conversation(adding(here, UserId("dan")))
    await memory.change_conversation(removing(here, BOB))
    await copy_store(memory, store, silent)
    assert await store.get_conversation(here) == await memory.get_conversation(here)
    await store.change_conversation(removing(here, CAT))
    with pytest.raises(CopyError, match="something else"):
        await copy_store(memory, store, silent)


async def test_a_target_with_something_else_in_the_place_is_refused(store: Copyable, memory: Copyable) -> None:
    await memory.create_conversation(conversation_draft(BOB))
    await store.create_conversation(conversation_draft(BOB))  # the same two people, another id
    with pytest.raises(CopyError, match="empty database"):
        await copy_store(memory, store, silent)


async def test_a_target_whose_conversation_went_on_is_refused(store: Copyable, memory: Copyable) -> None:
    conversation_id = await group(memory)
    await copy_store(memory, store, silent)
    await memory.append_message(message_draft(conversation_id, "here"))
    await store.append_message(message_draft(conversation_id, "there"))
    with pytest.raises(CopyError, match="differs"):
        await copy_store(memory, store, silent)
    await memory.append_message(message_draft(conversation_id, "here", key="k"))
    await store.append_message(message_draft(conversation_id, "there", key="k"))
    await memory.append_message(message_draft(conversation_id, "more"))
    with pytest.raises(CopyError, match="differs"):
        await copy_store(memory, store, silent)


async def test_a_key_or_an_id_that_means_something_else_in_the_target_is_refused(
    store: Copyable, memory: Copyable
) -> None:
    draft = conversation_draft(BOB, CAT, title="a")
    await memory.create_conversation(draft)
    other = conversation_draft(BOB, title="b", conversation_id=draft.id)
    await store.create_conversation(other)
    with pytest.raises(CopyError, match="something else"):
        await copy_store(memory, store, silent)


async def test_what_participants_have_settled_is_verified(store: Copyable, memory: Copyable) -> None:
    """Also what was marked as unread, which an own message that is copied would end."""
    here = await group(memory)
    await memory.append_message(message_draft(here))
    await memory.set_settings(here, ANN, SettingsUpdate(muted=True, marked_unread=True))
    for _ in range(2):
        await copy_store(memory, store, silent)
        assert await store.list_settings(here) == await memory.list_settings(here)
    await store.set_settings(here, BOB, SettingsUpdate(pinned=True))
    with pytest.raises(CopyError, match="differs"):
        await copy_store(memory, store, silent)


async def test_profiles_become_those_of_the_source(store: Copyable, memory: Copyable) -> None:
    """A copy that is started again takes what was told since, also that a name is gone; a profile too many is told."""
    await memory.set_profile(ProfileUpdate(ANN, "Ann", "https://example.com/ann.png"))
    assert await copy_store(memory, store, silent) == Counts(0, 0, 1)
    await memory.set_profile(ProfileUpdate(ANN, "", "https://example.com/new.png"))
    assert await copy_store(memory, store, silent) == Counts(0, 0, 1)
    assert list(await store.get_profiles([ANN])) == [Profile(ANN, None, "https://example.com/new.png")]
    await store.set_profile(ProfileUpdate(BOB))
    with pytest.raises(CopyError, match=r"1 profiles of users and the target .* 2 profiles"):
        await copy_store(memory, store, silent)


async def test_more_in_the_target_than_in_the_source_is_told(store: Copyable, memory: Copyable) -> None:
    await group(memory)
    await group(store)
    with pytest.raises(CopyError, match=r"source has 1 conversations .* target 2 conversations"):
        await copy_store(memory, store, silent)


async def test_conversations_are_walked_through_in_pages(store: Copyable) -> None:
    ids = sorted([await group(store) for _ in range(7)])
    for limit in (1, 3, 7, 8):
        walked: list[ConversationId] = []
        while page := await store.list_drafts(after=walked[-1] if walked else None, limit=limit):
            walked += [draft.id for draft in page]
        assert walked == ids
    assert await store.count() == Counts(7, 0)


def test_progress_is_one_line_for_a_terminal() -> None:
    assert Progress("copy", 1200, 2400).bar(10) == "copy   [#####.....] 1,200 of 2,400 messages"
    assert Progress("verify", 0, 0).bar(3) == "verify [###] 0 of 0 messages"
