"""socketserver.chat.activity"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from socketserver.chat.activity import SKEW_MS, Activity
from socketserver.errors import StoreUnavailable

import pytest
from support.clock import START_MS, FakeClock

DAY_S = 86_400


def newest(at_ms: int) -> Callable[[], Awaitable[int]]:
    async def find() -> int:
        return at_ms

    return find


async def test_it_is_the_clock_as_long_as_that_goes_on() -> None:
    """Two events of one millisecond are a tie."""
    clock = FakeClock()
    activity = Activity(newest(0), clock.now_ms)
    await activity.start()
    assert [activity.next_ms(), activity.next_ms()] == [START_MS, START_MS]
    clock.advance(1)
    assert activity.next_ms() == START_MS + 1000


@pytest.mark.parametrize("back_s", [DAY_S, 1800, 1, (SKEW_MS + 1) / 1000])
async def test_a_clock_that_was_ahead_is_set_right(back_s: float) -> None:
    """What came after was put below what had come before, until the clock had caught up."""
    clock = FakeClock()
    activity = Activity(newest(0), clock.now_ms)
    await activity.start()
    clock.jump(back_s)
    places = [activity.next_ms()]
    clock.jump(-back_s)
    places += [activity.next_ms() for _ in range(50)]
    clock.advance(back_s + 1)
    places.append(activity.next_ms())
    assert places == sorted(set(places))
    assert places[-1] == clock.now_ms(), "and then it is the clock again"


async def test_it_goes_on_from_what_the_store_has() -> None:
    """After a restart, and where another process was ahead."""
    clock = FakeClock()
    activity = Activity(newest(START_MS + DAY_S * 1000), clock.now_ms)
    await activity.start()
    assert activity.next_ms() == START_MS + DAY_S * 1000 + 1
    activity.learn(START_MS + 2 * DAY_S * 1000)
    activity.learn(START_MS)
    assert activity.next_ms() == START_MS + 2 * DAY_S * 1000 + 1


async def test_processes_whose_clocks_differ_a_little_do_not_drive_each_other_on() -> None:
    """Each counting on from the other's newest, they would run ahead of both clocks under load."""
    clock = FakeClock()
    activity = Activity(newest(0), clock.now_ms)
    await activity.start()
    activity.learn(START_MS + SKEW_MS)
    assert {activity.next_ms() for _ in range(1000)} == {START_MS + SKEW_MS}


async def test_a_store_that_is_away_is_asked_again() -> None:
    """All who wait share one question; the next one asks anew."""
    asked = 0

    async def find() -> int:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        if asked == 1:
            raise StoreUnavailable
        return 7

    activity = Activity(find, FakeClock().now_ms)
    results = await asyncio.gather(*(activity.start() for _ in range(5)), return_exceptions=True)
    assert [type(result) for result in results] == [StoreUnavailable] * 5
    await asyncio.gather(*(activity.start() for _ in range(5)))
    await activity.start()
    assert (asked, activity.ready) == (2, True)
