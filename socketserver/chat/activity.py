"""When something happened, for the order of lists: the wall clock, except that it never goes back.

A machine's clock that was a day ahead and is set right would put everything new below what was written meanwhile, for a
day. Here it goes on from the newest activity that is known, by a millisecond each time, until the clock has caught up.
Source: docs/decisions/0020-activity-never-goes-back.md
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from ..errors import StoreUnavailable

# Processes that share a store differ by so much; within it theirs are ties. Counting on from each other's newest
# would otherwise run ahead of both their clocks under a load of more than one message in a millisecond.
SKEW_MS: Final = 10


class Activity:
    """Gives out the places of what happens, in a store.

    Args:
        newest: the newest activity that the store has; asked before the first place is given out.
        now_ms: the wall clock.

    Attributes:
        ready: `start` has been done.
    """

    def __init__(self, newest: Callable[[], Awaitable[int]], now_ms: Callable[[], int]) -> None:
        self._find_newest = newest
        self._now_ms = now_ms
        self._newest_ms = 0
        self._found: asyncio.Future[None] | None = None
        self.ready = False

    async def start(self) -> None:
        """Find out where the store stands; does nothing the second time.

        Raises: StoreUnavailable.
        """
        if self.ready:
            return
        if self._found is None:
            self._found = asyncio.ensure_future(self._find())
        await asyncio.shield(self._found)
        if not self.ready:
            raise StoreUnavailable

    async def _find(self) -> None:
        try:
            self.learn(await self._find_newest())
            self.ready = True
        except StoreUnavailable:
            pass
        finally:
            self._found = None

    def learn(self, activity_at_ms: int) -> None:
        """An activity of the store was seen; another process may have given it out."""
        self._newest_ms = max(self._newest_ms, activity_at_ms)

    def next_ms(self) -> int:
        """The place of what happens now. Call `start` before."""
        now_ms = self._now_ms()
        if now_ms >= self._newest_ms:
            self._newest_ms = now_ms
        elif self._newest_ms - now_ms > SKEW_MS:
            self._newest_ms += 1
        return self._newest_ms
