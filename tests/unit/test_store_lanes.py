"""Lanes: who travels with whom, and in which order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from socketserver.errors import ChatError, IdempotencyConflict, Overloaded
from socketserver.store.lanes import Lanes
from socketserver.store.writes import Call


@dataclass(slots=True, eq=False)
class Named(Call[str]):
    """A call that answers with its name."""

    name: str


def named(name: str) -> Named:
    return Named(asyncio.get_running_loop().create_future(), name)


class Airport:
    """Flights that land when the test says so."""

    def __init__(self, *, flights: int = 2, most: int = 100) -> None:
        self.lanes: Lanes[Named] = Lanes(self._fly, flights=flights, most=most)
        self.up: list[list[str]] = []
        self.landed: list[str] = []
        self.errors: dict[str, ChatError] = {}
        self._landing: list[asyncio.Future[None]] = []

    def add(self, lane: str, *names: str) -> list[Named]:
        calls = [named(name) for name in names]
        for call in calls:
            self.lanes.add(lane, call)
            call.future.add_done_callback(self._note)
        return calls

    def _note(self, future: asyncio.Future[str]) -> None:
        if not future.cancelled() and future.exception() is None:
            self.landed.append(future.result())

    async def _fly(self, calls: Sequence[Named]) -> None:
        self.up.append([call.name for call in calls])
        permission = asyncio.get_running_loop().create_future()
        self._landing.append(permission)
        await permission
        for call in calls:
            call.error = self.errors.get(call.name)
            call.result = call.name

    async def land(self, flight: int) -> None:
        self._landing[flight].set_result(None)
        await settled()


async def settled() -> None:
    """Let everything that is ready run."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_calls_of_one_tick_travel_together() -> None:
    airport = Airport()
    airport.add("a", "a1", "a2")
    airport.add("b", "b1")
    await settled()
    assert airport.up == [["a1", "a2", "b1"]]


async def test_a_lane_waits_for_its_own_flight_and_not_for_others() -> None:
    airport = Airport()
    airport.add("a", "a1")
    await settled()
    airport.add("a", "a2")
    airport.add("b", "b1")
    await settled()
    assert airport.up == [["a1"], ["b1"]]
    await airport.land(1)
    assert airport.landed == ["b1"]
    await airport.land(0)
    assert airport.up[2:] == [["a2"]]
    await airport.land(2)
    assert airport.landed == ["b1", "a1", "a2"]


async def test_a_lane_longer_than_a_flight_goes_on_with_the_next() -> None:
    """It once waited for ever, when no other call came."""
    airport = Airport(flights=1, most=2)
    airport.add("a", "a1", "a2", "a3", "a4", "a5")
    for flight in range(3):
        await settled()
        await airport.land(flight)
    assert airport.up == [["a1", "a2"], ["a3", "a4"], ["a5"]]
    assert airport.landed == ["a1", "a2", "a3", "a4", "a5"]


async def test_lanes_take_turns() -> None:
    airport = Airport(flights=1, most=2)
    airport.add("a", "a1", "a2", "a3", "a4")
    airport.add("b", "b1")
    for flight in range(3):
        await settled()
        await airport.land(flight)
    assert airport.up == [["a1", "a2"], ["b1", "a3"], ["a4"]]


async def test_a_caller_that_left_does_not_keep_the_others_from_their_answers() -> None:
    airport = Airport()
    calls = airport.add("a", "a1", "a2")
    calls[0].future.cancel()
    await settled()
    await airport.land(0)
    assert await calls[1].future == "a2"


async def test_what_is_to_be_made_again_is_not_overtaken() -> None:
    """What waited behind a call that failed was done, and a copy that was interrupted could not be taken up again."""
    airport = Airport(most=2)
    airport.errors["a2"] = Overloaded(retry_after_ms=250)
    calls = airport.add("a", "a1", "a2", "a3", "a4")
    airport.add("b", "b1")
    await settled()
    assert airport.up == [["a1", "a2"], ["b1"]]
    await airport.land(0)
    assert airport.landed == ["a1"]
    for call in calls[2:]:
        error = call.future.exception()
        assert isinstance(error, Overloaded)
        assert error.retry_after_ms == 250
    airport.add("a", "a5")
    await settled()
    assert airport.up[2:] == [["a5"]]
    await airport.land(1)
    await airport.land(2)
    assert airport.landed == ["a1", "b1", "a5"]
    await airport.lanes.drain()


async def test_a_call_that_is_wrong_keeps_nobody_behind_it() -> None:
    airport = Airport(most=1)
    airport.errors["a1"] = IdempotencyConflict()
    calls = airport.add("a", "a1", "a2")
    await settled()
    await airport.land(0)
    await settled()
    assert isinstance(calls[0].future.exception(), IdempotencyConflict)
    await airport.land(1)
    assert airport.landed == ["a2"]


async def test_draining_waits_for_all() -> None:
    airport = Airport(flights=1, most=1)
    airport.add("a", "a1", "a2")
    draining = asyncio.ensure_future(airport.lanes.drain())
    await settled()
    await airport.land(0)
    assert not draining.done()
    await airport.land(1)
    assert draining.done()
    await airport.lanes.drain()


async def test_flights_shrink_while_they_are_slow_and_grow_again() -> None:
    sizes: list[int] = []
    now_s = 0.0
    takes_s = 0.0

    async def fly(calls: Sequence[Named]) -> None:
        nonlocal now_s
        sizes.append(len(calls))
        now_s += takes_s

    lanes: Lanes[Named] = Lanes(fly, flights=1, most=64, goal_s=1.0, monotonic_s=lambda: now_s)
    for each_s, expected in ((2.0, [64, 32, 16, 16]), (2.0, [16, 16, 16, 16]), (0.5, [16, 32, 64, 64])):
        takes_s = each_s
        sizes.clear()
        for _ in range(200):
            lanes.add("a", named("x"))
        await lanes.drain()
        assert sizes[:4] == expected
