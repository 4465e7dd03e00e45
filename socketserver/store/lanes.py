"""Group commit with an order per lane: calls that arrive together travel together, and each lane's stay in line.

Knows no database. A flight carries what waits in all lanes that have nothing in the air; a lane's next calls wait until
its flight has landed, other lanes' do not. Calls of one lane are therefore done, and answered, in the order in which
they were made. When one of them is to be made again, those that wait behind it are told so too: done now, they would
overtake it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

from ..errors import ChatError
from .writes import Call, settle

_FIRST_CALLS: Final = 64  # per flight, before it is known how fast the database is
_LEAST_CALLS: Final = 16  # per flight, however slow the database is

C = TypeVar("C", bound=Call[Any])


class Lanes(Generic[C]):
    """Lanes of calls that wait, and the flights that carry them.

    Args:
        fly: does a flight's calls, in order within a lane, and leaves a result or an error in each; must not raise.
        flights: how many may be in the air at once.
        most: calls per flight, at most.
        goal_s: how long a flight should take: while they take longer, they get smaller, so that a slow database is
            asked for less at a time and none of it runs into a timeout.
        monotonic_s: the clock that times them.
    """

    def __init__(
        self,
        fly: Callable[[Sequence[C]], Awaitable[None]],
        *,
        flights: int,
        most: int,
        goal_s: float = 1.0,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fly = fly
        self._flights = flights
        self._most = most
        self._goal_s = goal_s
        self._monotonic_s = monotonic_s
        self._size = min(most, _FIRST_CALLS)
        self._waiting: dict[Hashable, deque[C]] = {}
        self._ready: dict[Hashable, None] = {}  # lanes with calls and nothing in the air, in the order of their turn
        self._flying: set[asyncio.Task[None]] = set()
        self._called = False

    def add(self, lane: Hashable, call: C) -> None:
        """Put a call at the end of its lane. It takes off at the end of the tick at the earliest."""
        waiting = self._waiting.get(lane)
        if waiting is None:
            self._waiting[lane] = deque([call])
            self._ready[lane] = None
        else:
            waiting.append(call)
        if not self._called:
            self._called = True
            call.future.get_loop().call_soon(self._take_off)

    async def drain(self) -> None:
        """Wait until every call that was added has landed."""
        while self._waiting:
            self._take_off()
            await asyncio.wait(self._flying)

    def _take_off(self) -> None:
        self._called = False
        while self._ready and len(self._flying) < self._flights:
            lanes: dict[Hashable, list[C]] = {}
            room = self._size
            while self._ready and room:
                lane = next(iter(self._ready))
                del self._ready[lane]
                waiting = self._waiting[lane]
                lanes[lane] = [waiting.popleft() for _ in range(min(len(waiting), room))]
                room -= len(lanes[lane])
            flight = asyncio.ensure_future(self._carry(lanes))
            self._flying.add(flight)
            flight.add_done_callback(self._landed)

    async def _carry(self, lanes: Mapping[Hashable, Sequence[C]]) -> None:
        calls = [call for own in lanes.values() for call in own]
        started_s = self._monotonic_s()
        try:
            await self._fly(calls)
        finally:
            if self._monotonic_s() - started_s > self._goal_s:
                self._size = max(_LEAST_CALLS, len(calls) // 2)
            elif len(calls) >= self._size:
                self._size = min(self._most, self._size * 2)
            for lane, own in lanes.items():
                waiting = self._waiting[lane]
                if (error := _to_be_repeated(own)) is not None:
                    for call in waiting:
                        call.error = type(error)(retry_after_ms=error.retry_after_ms)
                    calls += waiting
                    waiting.clear()
                if waiting:
                    self._ready[lane] = None
                else:
                    del self._waiting[lane]
            settle(calls)

    def _landed(self, flight: asyncio.Task[None]) -> None:
        # Runs after the callers that were just answered: what they call next is on the next flight.
        self._flying.discard(flight)
        self._take_off()


def _to_be_repeated(calls: Sequence[Call[Any]]) -> ChatError | None:
    """The first error after which its call is to be made again."""
    errors = (call.error for call in calls)
    return next((error for error in errors if isinstance(error, ChatError) and error.retryable), None)
