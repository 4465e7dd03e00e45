"""socketserver.chat.profiles"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from socketserver.chat.domain import UserId
from socketserver.chat.identity import Profile, ProfileUpdate
from socketserver.chat.news import News, ProfileChanged
from socketserver.chat.profile_cache import ProfileCache
from socketserver.chat.profiles import KEPT_S, People, Profiles
from socketserver.errors import ChatError, Overloaded, StoreUnavailable
from socketserver.store.results import ProfileSet
from socketserver.store.sqlite.sqlite_store import SqliteStore
from typing import Any

import pytest
from support.clock import FakeClock
from support.waiting import eventually

ANN, BOB = UserId("ann"), UserId("bob")


class FaultyStore(SqliteStore):
    """A store in memory that is away when a test says so, and counts what it is asked.

    Attributes:
        fault: what every call for profiles raises, if set.
        written, read: the calls that were answered.
        before_answer: called when profiles have been read, before the answer is given.
    """

    def __init__(self) -> None:
        super().__init__(":memory:")
        self.fault: ChatError | None = None
        self.refused = 0
        self.written: list[ProfileUpdate] = []
        self.read: list[Sequence[UserId]] = []
        self.before_answer: Callable[[], Any] | None = None

    async def set_profile(self, update: ProfileUpdate) -> ProfileSet:
        self._fail()
        self.written.append(update)
        return await super().set_profile(update)

    async def get_profiles(self, user_ids: Sequence[UserId]) -> Sequence[Profile]:
        self._fail()
        self.read.append(user_ids)
        profiles = await super().get_profiles(user_ids)
        if self.before_answer is not None:
            await self.before_answer()
        return profiles

    def _fail(self) -> None:
        if self.fault is not None:
            self.refused += 1
            raise self.fault


class Stage:
    """Profiles over such a store, and what was announced."""

    def __init__(self, store: FaultyStore, most_bytes: int = 0, **options: int) -> None:
        self.store = store
        self.clock = FakeClock()
        self.news: list[News] = []
        self.profiles = Profiles(store, self, self.clock, ProfileCache(most_bytes), **options)

    def receive(self, news: News) -> None:
        self.news.append(news)

    async def tell(self, *updates: ProfileUpdate) -> None:
        """Tell, and wait until it is written."""
        for update in updates:
            self.profiles.tell(update)
        await self.settled()

    async def settled(self) -> None:
        await eventually("nothing is written any more", lambda: not len(self.profiles))


@pytest.fixture
async def store() -> AsyncIterator[FaultyStore]:
    store = FaultyStore()
    await store.open()
    yield store
    await store.close()


async def test_what_is_told_is_announced_when_it_is_news(store: FaultyStore) -> None:
    """The first login is, and a new name; the same again is not."""
    stage = Stage(store)
    await stage.tell(ProfileUpdate(ANN))
    for _ in range(2):
        await stage.tell(ProfileUpdate(ANN, "Ann"))
    assert stage.news == [ProfileChanged(Profile(ANN)), ProfileChanged(Profile(ANN, "Ann"))]
    assert await stage.profiles.find([ANN, BOB]) == {ANN: Profile(ANN, "Ann"), BOB: None}


async def test_who_tells_waits_for_nothing(store: FaultyStore) -> None:
    """A login is answered before the store is asked; what is told is shown from then on, also before it is stored."""
    stage = Stage(store)
    stage.profiles.tell(ProfileUpdate(ANN, "Ann"))
    assert store.written == []
    found = asyncio.ensure_future(stage.profiles.find([ANN]))
    assert await found == {ANN: Profile(ANN, "Ann")}
    await stage.settled()
    assert stage.news == [ProfileChanged(Profile(ANN, "Ann"))]


async def test_who_is_here_is_known_without_a_look(store: FaultyStore) -> None:
    """What was told, stored or not; of somebody who was never looked up nothing is known."""
    stage = Stage(store)
    stage.profiles.tell(ProfileUpdate(ANN, "Ann"))
    assert (stage.profiles.peek(ANN), stage.profiles.peek(BOB)) == (Profile(ANN, "Ann"), None)
    await stage.settled()
    stage.clock.advance(KEPT_S)
    assert stage.profiles.peek(ANN) == Profile(ANN, "Ann")
    assert store.read == []


async def test_what_is_told_at_once_is_written_once(store: FaultyStore) -> None:
    """A user who connects again and again costs one write at a time."""
    stage = Stage(store)
    await stage.tell(*(ProfileUpdate(ANN, f"Ann {number}") for number in range(50)), ProfileUpdate(ANN, None, "x"))
    assert store.written == [ProfileUpdate(ANN, "Ann 49", "x")]
    assert stage.news == [ProfileChanged(Profile(ANN, "Ann 49", "x"))]


@pytest.mark.parametrize("fault", [StoreUnavailable(), Overloaded(retry_after_ms=100)])
async def test_an_outage_puts_it_off(store: FaultyStore, fault: ChatError) -> None:
    """It is written when the store is back, with what was told meanwhile; until then it is shown from memory."""
    stage = Stage(store)
    store.fault = fault
    stage.profiles.tell(ProfileUpdate(ANN, "Ann"))
    await eventually("the store has refused", lambda: store.refused)
    stage.profiles.tell(ProfileUpdate(ANN, "Ann B."))
    stage.profiles.tell(ProfileUpdate(BOB))
    assert await stage.profiles.find([ANN, BOB, UserId("cat")]) == {ANN: Profile(ANN, "Ann B."), BOB: Profile(BOB)}
    assert stage.news == []
    store.fault = None
    await eventually("it is written", lambda: len(stage.news) == 2)
    assert stage.news == [ProfileChanged(Profile(ANN, "Ann B.")), ProfileChanged(Profile(BOB))]
    await stage.settled()


async def test_the_end_does_not_wait_for_a_store_that_is_away(store: FaultyStore) -> None:
    """What waits is written at the end if it can be, and given up if not."""
    stage = Stage(store)
    store.fault = StoreUnavailable()
    stage.profiles.tell(ProfileUpdate(ANN, "Ann"))
    await eventually("the store has refused", lambda: store.refused)
    await stage.profiles.close()
    assert store.written == []
    store.fault = None
    other = Stage(store)
    other.profiles.tell(ProfileUpdate(BOB, "Bob"))
    await other.profiles.close()
    assert other.news == [ProfileChanged(Profile(BOB, "Bob"))]
    other.profiles.tell(ProfileUpdate(ANN))  # somebody whose connect was under way; nothing is written any more
    await other.profiles.close()
    assert [update.user_id for update in store.written] == [BOB]


async def test_those_who_wait_are_bounded(store: FaultyStore) -> None:
    """In a long outage the first who waited is forgotten, and told again at the next login."""
    stage = Stage(store, most_waiting=2)
    store.fault = StoreUnavailable()
    for number in range(4):
        stage.profiles.tell(ProfileUpdate(UserId(f"u{number}"), "name"))
    assert len(stage.profiles) == 2
    await eventually("the store has refused", lambda: store.refused)
    store.fault = None
    await stage.settled()
    assert [update.user_id for update in store.written] == ["u2", "u3"]


async def test_a_bug_costs_one_profile(store: FaultyStore, caplog: pytest.LogCaptureFixture) -> None:
    """What the store cannot hold is logged, and does not keep the others from being written."""
    stage = Stage(store)
    stage.profiles.tell(ProfileUpdate(ANN, "\ud83d"))
    await stage.tell(ProfileUpdate(BOB, "Bob"))
    assert stage.news == [ProfileChanged(Profile(BOB, "Bob"))]
    assert "a profile was not stored" in caplog.text


async def test_users_are_looked_up_once_in_a_while(store: FaultyStore) -> None:
    """Also those who have never been here; when another process was told more, it shows after a minute."""
    stage = Stage(store)
    await store.set_profile(ProfileUpdate(ANN, "Ann"))
    for _ in range(2):
        assert await stage.profiles.find([ANN, BOB]) == {ANN: Profile(ANN, "Ann"), BOB: None}
    assert store.read == [[ANN, BOB]]
    await store.set_profile(ProfileUpdate(BOB, "Bob"))
    stage.clock.advance(KEPT_S)
    assert await stage.profiles.find([BOB]) == {BOB: Profile(BOB, "Bob")}
    assert store.read == [[ANN, BOB], [BOB]]


async def test_what_is_known_is_not_written_again(store: FaultyStore) -> None:
    """Each login wrote the same profile anew. After a minute another process may have been told more, and it is."""
    stage = Stage(store)
    await stage.tell(ProfileUpdate(ANN, "Ann"))
    await stage.tell(ProfileUpdate(ANN, "Ann"), ProfileUpdate(ANN))
    await store.set_profile(ProfileUpdate(BOB, "Bob"))
    await stage.profiles.find([BOB])
    await stage.tell(ProfileUpdate(BOB, "Bob"))
    assert store.written == [ProfileUpdate(ANN, "Ann"), ProfileUpdate(BOB, "Bob")]
    await stage.tell(ProfileUpdate(ANN, "Ann B."))
    stage.clock.advance(KEPT_S)
    await stage.tell(ProfileUpdate(ANN, "Ann B."))
    assert store.written[2:] == [ProfileUpdate(ANN, "Ann B.")] * 2


async def test_a_user_who_is_only_known_to_be_nobody_is_written(store: FaultyStore) -> None:
    """Whoever was looked up before the first login has been here afterwards, also without a name."""
    stage = Stage(store)
    assert await stage.profiles.find([ANN]) == {ANN: None}
    await stage.tell(ProfileUpdate(ANN))
    assert await stage.profiles.find([ANN]) == {ANN: Profile(ANN)}
    assert store.written == [ProfileUpdate(ANN)]


async def test_who_asks_at_once_shares_one_look(store: FaultyStore) -> None:
    """In a storm each join read profiles by itself. Who gives up takes the answer from nobody; a bug is everybody's."""
    stage = Stage(store)
    await store.set_profile(ProfileUpdate(ANN, "Ann"))
    asks = [asyncio.ensure_future(stage.profiles.find(ids)) for ids in ([ANN], [BOB], [BOB, ANN])]
    await asyncio.sleep(0)  # they have asked
    asks[0].cancel()
    assert await asks[1] == {BOB: None}
    assert await asks[2] == {ANN: Profile(ANN, "Ann"), BOB: None}
    assert [set(ids) for ids in store.read] == [{ANN, BOB}]

    async def fail() -> None:
        raise ZeroDivisionError

    store.before_answer = fail
    stage.clock.advance(KEPT_S)
    found = await asyncio.gather(*(stage.profiles.find([each]) for each in (ANN, BOB)), return_exceptions=True)
    assert [type(each) for each in found] == [ZeroDivisionError] * 2


async def test_who_asks_during_a_look_shares_the_next_one(store: FaultyStore) -> None:
    """One look at a time, however many ask: in a storm of joins each had one of its own."""
    stage = Stage(store)
    asks: list[asyncio.Future[People]] = []

    async def ask() -> None:
        store.before_answer = None
        asks.extend(asyncio.ensure_future(stage.profiles.find([UserId(f"u{number}")])) for number in range(5))
        await asyncio.sleep(0)  # they have asked
        assert len(store.read) == 1

    store.before_answer = ask
    assert await stage.profiles.find([ANN]) == {ANN: None}
    assert [list(people.values()) for people in await asyncio.gather(*asks)] == [[None]] * 5
    assert [len(ids) for ids in store.read] == [1, 5]


async def test_what_is_old_is_better_than_nothing(store: FaultyStore) -> None:
    """While the store is away names stay; somebody who could not be looked up is not said to be unknown."""
    stage = Stage(store)
    await stage.tell(ProfileUpdate(ANN, "Ann"))
    stage.clock.advance(KEPT_S)
    store.fault = StoreUnavailable()
    assert await stage.profiles.find([ANN, BOB]) == {ANN: Profile(ANN, "Ann")}


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("fails", [False, True])
async def test_an_answer_is_not_older_than_what_was_announced(store: FaultyStore, known: bool, fails: bool) -> None:
    """Who joined while a name changed heard of the new one, and was then answered with the old one: the one that was
    read, or one that was in memory while others were read, whether the reading succeeded or not."""
    stage = Stage(store)

    async def change() -> None:
        store.before_answer = None
        await stage.tell(ProfileUpdate(ANN, "Ann B."))
        if fails:
            raise StoreUnavailable

    await store.set_profile(ProfileUpdate(ANN, "Ann"))
    if known:
        assert (await stage.profiles.find([ANN]))[ANN] == Profile(ANN, "Ann")
    store.before_answer = change
    for _ in range(2):
        assert (await stage.profiles.find([ANN, BOB]))[ANN] == Profile(ANN, "Ann B.")


async def test_a_cache_that_is_too_small_costs_looks_and_no_names(store: FaultyStore) -> None:
    """What was old and had to make room while others were read was missing in the answer."""
    stage = Stage(store, most_bytes=1_000)
    ids = [UserId(f"u{number}") for number in range(10)]
    for user_id in ids:
        await store.set_profile(ProfileUpdate(user_id, user_id))
    for _ in range(3):
        assert await stage.profiles.find(ids) == {user_id: Profile(user_id, user_id) for user_id in ids}
        stage.clock.advance(KEPT_S)
