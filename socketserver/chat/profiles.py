"""How users are shown to others: what their proofs tell of it is stored, and looked up for those who see them.

A login waits for nothing of it: what is told is written behind it, many users at once, and again and again while the
store is away; what was told within the last minute already is not written again. What is told and not written yet is
shown already; it is announced when it is stored, and was news. Whoever asks for users while others are looked up shares
the next look.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Final

from ..errors import ChatError
from ..store.base import Store
from ..store.results import ProfileSet
from .domain import Clock, UserId
from .identity import Profile, ProfileUpdate
from .news import ProfileChanged, Receiver
from .profile_cache import Entry, ProfileCache

log = logging.getLogger(__name__)

People = Mapping[UserId, Profile | None]
"""How users are shown; None for one who has never been here. One who could not be looked up is not in it."""

# Seconds for which what was looked up stands. What is told in this process counts at once.
KEPT_S: Final = 60.0
# Users whose profiles may wait to be written. Of one more the first who waited is told again with the next login.
MOST_WAITING: Final = 10_000
_AT_ONCE: Final = 500
_FIRST_RETRY_S: Final = 0.25
_LAST_RETRY_S: Final = 30.0


class _Look:
    """One look for users' profiles, for all who ask before it begins.

    Attributes:
        before: who is looked up, with what was in memory.
        waiting: those who ask; each gets what is known now, nothing in an outage.
    """

    __slots__ = ("before", "waiting")

    def __init__(self) -> None:
        self.before: dict[UserId, Entry | None] = {}
        self.waiting: list[asyncio.Future[Mapping[UserId, Entry]]] = []


class Profiles:
    """Users' profiles.

    Args:
        receiver: told of every profile that changed.
        clock: its monotonic part says when what was looked up is too old.
        most_waiting: users whose profiles may wait to be written.
    """

    def __init__(
        self,
        store: Store,
        receiver: Receiver,
        clock: Clock,
        cache: ProfileCache,
        *,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self._store = store
        self._receiver = receiver
        self._clock = clock
        self._cache = cache
        self._most_waiting = most_waiting
        self._waiting: OrderedDict[UserId, ProfileUpdate] = OrderedDict()
        self._writing: asyncio.Task[None] | None = None
        self._look: _Look | None = None
        self._looking: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    def __len__(self) -> int:
        """How many users' profiles wait to be written."""
        return len(self._waiting)

    def tell(self, update: ProfileUpdate) -> None:
        """Note what a user's proof says. Never waits.

        Announces: ProfileChanged, once it is stored, if it was news.
        """
        earlier = self._waiting.pop(update.user_id, None)
        if earlier is None and self._is_known(update):
            return
        self._waiting[update.user_id] = update if earlier is None else earlier.then(update)
        if len(self._waiting) > self._most_waiting:
            self._waiting.popitem(last=False)
        if self._writing is None and not self._closing.is_set():
            self._writing = asyncio.get_running_loop().create_task(self._write())

    async def find(self, user_ids: Iterable[UserId]) -> People:
        """How these users are shown at the moment at which this returns; an outage of the store costs names, no more.

        Nothing that is announced later is older. So whoever hears of changes calls this after beginning to listen, and
        answers without waiting for anything else.
        """
        now_s = self._clock.monotonic_s()
        found: dict[UserId, Entry | None] = {}
        missing = False
        for user_id in user_ids:
            found[user_id] = entry = self._cache.get(user_id)
            missing = missing or entry is None or entry.until_s <= now_s
        if missing:
            looked_up = await self._look_up(found, now_s)
            # Meanwhile others may have been told of, those who were known among them.
            found = {
                user_id: self._cache.get(user_id) or looked_up.get(user_id, entry) for user_id, entry in found.items()
            }
        people: dict[UserId, Profile | None] = {}
        for user_id, entry in found.items():
            if user_id in self._waiting:
                people[user_id] = self._told(user_id, entry)
            elif entry is not None:
                people[user_id] = entry.profile
        return people

    def peek(self, user_id: UserId) -> Profile | None:
        """How a user is shown who is here, as far as it is in memory. Never waits."""
        return self._told(user_id, self._cache.get(user_id))

    async def close(self) -> None:
        """Write what waits, unless the store is away."""
        self._closing.set()
        if self._writing is not None:
            await self._writing

    def _look_up(self, before: Mapping[UserId, Entry | None], now_s: float) -> asyncio.Future[Mapping[UserId, Entry]]:
        """Look up those of whom nothing is known, or nothing new enough, and keep what is found.

        Args:
            before: what is in memory.
        Returns: what is known then; nothing in an outage: what is in memory may be old, but is better than nothing.
        """
        loop = asyncio.get_running_loop()
        look = self._look
        if look is None:
            look = self._look = _Look()
            if self._looking is None:
                self._looking = loop.create_task(self._look_on())
        for user_id, entry in before.items():
            if entry is None or entry.until_s <= now_s:
                look.before.setdefault(user_id, entry)
        answer: asyncio.Future[Mapping[UserId, Entry]] = loop.create_future()
        look.waiting.append(answer)
        return answer

    async def _look_on(self) -> None:
        """Look one time after the other, until nobody asks any more."""
        try:
            while self._look is not None:
                look, self._look = self._look, None
                await self._answer(look)
        finally:
            self._looking = None

    async def _answer(self, look: _Look) -> None:
        """Look, and answer all who wait for it, however it ends."""
        try:
            found = await self._read(look.before)
        except BaseException as error:
            for answer in look.waiting:
                if not answer.done():
                    answer.set_exception(error) if isinstance(error, Exception) else answer.cancel()
            if not isinstance(error, Exception):
                raise
            return
        for answer in look.waiting:
            if not answer.done():
                answer.set_result(found)

    async def _read(self, before: Mapping[UserId, Entry | None]) -> Mapping[UserId, Entry]:
        until_s = self._clock.monotonic_s() + KEPT_S
        try:
            profiles = {profile.user_id: profile for profile in await self._store.get_profiles(list(before))}
        except ChatError:
            return {}
        found: dict[UserId, Entry] = {}
        for user_id, earlier in before.items():
            newest = self._cache.get(user_id)
            if newest is None or newest is earlier:  # else it was told meanwhile, and what was read may be older
                newest = Entry(profiles.get(user_id), until_s)
                self._cache.put(user_id, newest)
            found[user_id] = newest
        return found

    def _is_known(self, update: ProfileUpdate) -> bool:
        """Whether what is told is what was stored within the last minute."""
        entry = self._cache.get(update.user_id)
        if entry is None or entry.profile is None or entry.until_s <= self._clock.monotonic_s():
            return False
        return update.onto(entry.profile) == entry.profile

    def _told(self, user_id: UserId, entry: Entry | None) -> Profile | None:
        """What is known of a user, with what is not stored yet."""
        profile = None if entry is None else entry.profile
        waiting = self._waiting.get(user_id)
        return profile if waiting is None else waiting.onto(profile)

    async def _write(self) -> None:
        """Write until nothing waits any more, or the application ends while the store is away."""
        failures = 0
        try:
            while self._waiting and not (failures and self._closing.is_set()):
                failures = 0 if await self._write_some() else failures + 1
                if failures:
                    await self._pause(failures)
        finally:
            self._writing = None

    async def _write_some(self) -> bool:
        """Write those who have waited longest. Returns: whether anything came of it."""
        updates = list(islice(self._waiting.values(), _AT_ONCE))
        results = await asyncio.gather(*map(self._store.set_profile, updates), return_exceptions=True)
        done = [
            (update, result)
            for update, result in zip(updates, results, strict=True)
            if not (isinstance(result, ChatError) and result.retryable)
        ]
        for update, result in done:
            self._written(update, result)
        return bool(done)

    async def _pause(self, failures: int) -> None:
        delay_s = min(_LAST_RETRY_S, _FIRST_RETRY_S * 2.0 ** min(failures, 10)) * random.uniform(0.5, 1)  # noqa: S311
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay_s):
                await self._closing.wait()

    def _written(self, update: ProfileUpdate, result: ProfileSet | BaseException) -> None:
        if self._waiting.get(update.user_id) is update:  # else more was told meanwhile
            del self._waiting[update.user_id]
        if isinstance(result, BaseException):
            log.error("a profile was not stored", exc_info=result)
            return
        self._cache.put(update.user_id, Entry(result.profile, self._clock.monotonic_s() + KEPT_S))
        if result.changed:
            self._receiver.receive(ProfileChanged(result.profile))
