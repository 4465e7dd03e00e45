"""How users are shown, as store/base.py promises it."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from socketserver.chat.domain import UserId
from socketserver.chat.identity import Profile, ProfileUpdate
from socketserver.errors import Overloaded
from socketserver.store import Store, open_store
from socketserver.store.mongo.mongo_store import MongoStore
from socketserver.store.results import ProfileSet
from socketserver.store.sqlite.schema import APPLICATION_ID, MIGRATIONS
from socketserver.store.sqlite.sqlite_store import SqliteStore

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.stores import ANN, BOB, CAT, NOW_MS, Backend, conversation_draft, message_draft

PICTURE = "https://example.com/ann.png"


async def profile(store: Store, user_id: UserId = ANN) -> Profile | None:
    """What is stored of a user."""
    return next(iter(await store.get_profiles([user_id])), None)


async def test_nobody_has_a_profile_before_it_is_told(store: Store) -> None:
    """Neither by being named in a conversation, nor by writing in it."""
    conversation = (await store.create_conversation(conversation_draft(BOB))).conversation
    await store.append_message(message_draft(conversation.id))
    assert list(await store.get_profiles([ANN, BOB])) == []
    assert list(await store.get_profiles([])) == []


async def test_a_profile_is_what_was_told_last(store: Store) -> None:
    """Nothing said of a name or a picture leaves it; the empty text takes it away."""
    steps = [
        (ProfileUpdate(ANN), Profile(ANN)),
        (ProfileUpdate(ANN, "Ann"), Profile(ANN, "Ann")),
        (ProfileUpdate(ANN, avatar=PICTURE), Profile(ANN, "Ann", PICTURE)),
        (ProfileUpdate(ANN, "Ann B."), Profile(ANN, "Ann B.", PICTURE)),
        (ProfileUpdate(ANN, ""), Profile(ANN, None, PICTURE)),
        (ProfileUpdate(ANN, "Ann", ""), Profile(ANN, "Ann")),
    ]
    for update, expected in steps:
        assert await store.set_profile(update) == ProfileSet(expected, changed=True)
        assert await profile(store) == expected
        assert await store.set_profile(update) == ProfileSet(expected, changed=False)
    assert await store.set_profile(ProfileUpdate(ANN)) == ProfileSet(Profile(ANN, "Ann"), changed=False)


async def test_calls_count_in_their_order(store: Store) -> None:
    """Told several things at once, a user is shown as the last of them says; others at the same moment are others."""
    names = [f"Ann {number % 3}" for number in range(20)]
    calls = [store.set_profile(ProfileUpdate(ANN, name)) for name in names]
    others = [UserId(f"u{number}") for number in range(300)]
    calls += [store.set_profile(ProfileUpdate(user_id, user_id.upper())) for user_id in others]
    results = await asyncio.gather(*calls)
    assert [result.profile.name for result in results[:20]] == names
    assert all(result.changed for result in results)
    assert await profile(store) == Profile(ANN, names[-1])
    found = await store.get_profiles([*others, ANN, ANN, UserId("nobody")])
    assert sorted(found, key=lambda each: each.user_id) == [
        Profile(ANN, names[-1]),
        *(Profile(user_id, user_id.upper()) for user_id in sorted(others)),
    ]


async def test_a_profile_outlives_the_store(shared_backend: Backend) -> None:
    """It is durable when the call returns, and every process sees it."""
    first, second = await shared_backend.open(), await shared_backend.open()
    await first.set_profile(ProfileUpdate(ANN, "Ann"))
    assert await profile(second) == Profile(ANN, "Ann")
    assert (await second.set_profile(ProfileUpdate(ANN, "Ann B."))).changed
    assert not (await first.set_profile(ProfileUpdate(ANN, "Ann B."))).changed
    await first.close()
    await first.open()
    assert await profile(first) == Profile(ANN, "Ann B.")


async def test_several_processes_at_the_same_user(shared_backend: Backend) -> None:
    """A profile that two make at the same moment is made once; what one says nothing of stays as the other said it."""
    first, second = await shared_backend.open(), await shared_backend.open()
    for number in range(10):
        user_id = UserId(f"u{number}")
        await asyncio.gather(
            first.set_profile(ProfileUpdate(user_id, "Ann")), second.set_profile(ProfileUpdate(user_id, None, PICTURE))
        )
        assert await profile(first, user_id) == Profile(user_id, "Ann", PICTURE)


async def test_an_unusable_value_disturbs_nobody(store: Store) -> None:
    """Half of a surrogate pair is refused alone."""
    results = await asyncio.gather(
        store.set_profile(ProfileUpdate(ANN, "Ann")),
        store.set_profile(ProfileUpdate(BOB, "\ud83d")),
        store.set_profile(ProfileUpdate(CAT, "Cat")),
        return_exceptions=True,
    )
    assert isinstance(results[1], ValueError)
    assert [await profile(store, user_id) for user_id in (ANN, BOB, CAT)] == [
        Profile(ANN, "Ann"),
        None,
        Profile(CAT, "Cat"),
    ]


async def test_profiles_count_among_the_writes_that_wait(shared_backend: Backend) -> None:
    """A flood of them is refused, not queued without end."""
    url = shared_backend.url
    store: Store
    if shared_backend.name == "mongo":
        store = MongoStore(url, max_queued_writes=1)
    else:
        store = SqliteStore(url.removeprefix("sqlite:///"), max_queued_writes=1)
    await store.open()
    results = await asyncio.gather(
        *(store.set_profile(ProfileUpdate(UserId(f"u{number}"))) for number in range(3)), return_exceptions=True
    )
    await store.close()
    assert isinstance(results[0], ProfileSet)
    assert all(isinstance(result, Overloaded) for result in results[1:])


async def test_profiles_are_walked_through_in_pages(backend: Backend) -> None:
    """In the order of ids by code points, and counted."""
    store = await backend.open()
    ids = sorted(map(UserId, ["a", "B", "é", "😀", "\ufffd", "z", "ab"]))
    for user_id in ids:
        await store.set_profile(ProfileUpdate(user_id, user_id))
    for limit in (1, 3, 7, 8):
        walked: list[Profile] = []
        while page := await store.list_profiles(after=walked[-1].user_id if walked else None, limit=limit):
            walked += page
        assert walked == [Profile(user_id, user_id) for user_id in ids]
    assert (await store.count()).profiles == len(ids)


_told = st.sampled_from([None, "", "a", "b"])


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(st.tuples(st.sampled_from([ANN, BOB]), _told, _told, st.booleans()), max_size=8))
async def test_any_history_ends_as_it_would_in_memory(
    backend: Backend, steps: list[tuple[UserId, str | None, str | None, bool]]
) -> None:
    """Whatever is told, one after the other or at once: the store has what `ProfileUpdate.onto` says."""
    store = backend.stores[0] if backend.stores else await backend.open()
    expected: dict[UserId, Profile] = {each.user_id: each for each in await store.get_profiles([ANN, BOB])}
    waiting: list[asyncio.Task[ProfileSet]] = []
    told: list[ProfileSet] = []
    for user_id, name, avatar, wait in steps:
        update = ProfileUpdate(user_id, name, avatar)
        after = update.onto(expected.get(user_id))
        told.append(ProfileSet(after, changed=after != expected.get(user_id)))
        expected[user_id] = after
        waiting.append(asyncio.ensure_future(store.set_profile(update)))
        if wait:
            await waiting[-1]
    assert await asyncio.gather(*waiting) == told
    assert {each.user_id: each for each in await store.get_profiles([ANN, BOB])} == expected


@pytest.mark.parametrize("version", [1, 2])
async def test_a_sqlite_file_of_an_earlier_version_is_taken_up(tmp_path: Path, version: int) -> None:
    """Who created a conversation, wrote or read before there were profiles has been here; who was named has not."""
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as old:
        for script in MIGRATIONS[:version]:
            old.executescript(script)
        old.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        old.execute(f"PRAGMA user_version = {version}")
        old.execute(
            "INSERT INTO conversation (num, id, kind, created_by, created_at_ms, activity_at_ms)"
            " VALUES (1, 'c', 'group', 'ann', ?, ?)",
            (NOW_MS, NOW_MS),
        )
        old.executemany(
            "INSERT INTO participant (conversation, user_id, read_seq) VALUES (1, ?, ?)",
            [(ANN, 0), (BOB, 2), (CAT, 0)],
        )
        old.commit()
    store = open_store(f"sqlite:///{path}")
    await store.open()
    assert await store.list_profiles(after=None, limit=10) == [Profile(ANN), Profile(BOB)]
    assert (await store.set_profile(ProfileUpdate(CAT, "Cat"))).changed
    await store.close()
