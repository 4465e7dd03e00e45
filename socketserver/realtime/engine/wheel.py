"""One timer for all of an engine's pings and deadlines, on the monotonic clock."""

import asyncio
import heapq
import time
from collections.abc import Callable

Timer = tuple[int, int]
"""A handle from `Wheel.at`: (slot in milliseconds, number)."""


class Wheel:
    """Run callbacks at their time; adding and cancelling cost the same however many are waiting.

    Slots are one millisecond wide. Only one timer of the event loop is armed, for the earliest slot. A callback is
    never called early, nor inside `at`. `clock` gives monotonic seconds (the wall clock may jump).
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._slots: dict[int, dict[int, Callable[[], None]]] = {}
        self._order: list[int] = []
        self._count = 0
        self._handle: asyncio.TimerHandle | None = None
        self._armed_slot = 0

    def __len__(self) -> int:
        """Return how many timers wait."""
        return sum(map(len, self._slots.values()))

    def at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` once the clock shows `when` (seconds). Returns what `cancel` takes."""
        slot = -int(-when * 1000 // 1)  # rounded up: never early
        timers = self._slots.get(slot)
        if timers is None:
            timers = self._slots[slot] = {}
            heapq.heappush(self._order, slot)
        self._count += 1
        timers[self._count] = callback
        if self._handle is None or slot < self._armed_slot:
            self._arm()
        return slot, self._count

    def after(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` in `delay` seconds."""
        return self.at(self.clock() + delay, callback)

    def cancel(self, timer: Timer | None) -> None:
        """Forget a timer. One that has run, was cancelled or is None is left alone."""
        if timer is None:
            return
        timers = self._slots.get(timer[0])
        if timers is not None:
            timers.pop(timer[1], None)
            if not timers:
                # The slot's number stays in the heap until its time: an int, which holds nothing alive.
                del self._slots[timer[0]]

    def clear(self) -> None:
        """Forget all timers."""
        self._slots.clear()
        self._order.clear()
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _arm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        while self._order and self._order[0] not in self._slots:
            heapq.heappop(self._order)
        if self._order:
            self._armed_slot = self._order[0]
            delay = max(0.0, self._armed_slot / 1000 - self.clock())
            self._handle = asyncio.get_running_loop().call_later(delay, self._run)

    def _run(self) -> None:
        self._handle = None
        now = int(self.clock() * 1000)
        while self._order and self._order[0] <= now:
            slot = heapq.heappop(self._order)
            timers = self._slots.get(slot)
            while timers:
                # One at a time, so that a callback may still cancel another of its own slot.
                callback = timers.pop(next(iter(timers)))
                try:
                    callback()
                except Exception as exc:
                    asyncio.get_running_loop().call_exception_handler(
                        {"message": "a timer's callback failed", "exception": exc}
                    )
            if timers is not None and self._slots.get(slot) is timers:
                del self._slots[slot]
        self._arm()
