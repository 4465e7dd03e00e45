"""What happens with time: what has run out ends, read marks are written, registries are swept. Two tasks for all of it,
whatever the number of clients.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

from .chat.domain import Clock
from .door.connects import Guards
from .door.descriptors import Descriptors
from .live.lifecycle import Lifecycle
from .live.read_marks import ReadMarks

log = logging.getLogger(__name__)

# Interval of the ticks, in seconds.
TICK_S: Final = 0.1


class Housekeeping:
    """The tasks that look at the clock.

    Attributes:
        lifecycle, read_marks: as given.
        descriptors: says when there are none left.
        mended: how many differences the sweeps have found between our registries and the engine's.

    Args:
        sweeps: forget what is over at a time, in monotonic seconds; each may take 25 ms.
        engine_sessions: gives all sessions that the engine has.
        auth_timeout_s: how long a socket may be without a user.
        sweep_s: how often the registries are checked.
    """

    def __init__(
        self,
        lifecycle: Lifecycle,
        read_marks: ReadMarks,
        guards: Guards,
        sweeps: Sequence[Callable[[float], None]],
        engine_sessions: Callable[[], Iterable[Any]],
        clock: Clock,
        *,
        auth_timeout_s: float,
        sweep_s: float,
    ) -> None:
        self.lifecycle: Final = lifecycle
        self.read_marks: Final = read_marks
        self._guards: Final = guards
        self._sweeps: Final = sweeps
        self._engine_sessions: Final = engine_sessions
        self._clock: Final = clock
        self._auth_timeout_s: Final = auth_timeout_s
        self._sweep_s: Final = sweep_s
        self.mended = 0
        self.descriptors: Final = Descriptors()
        self._next_sweep_s = clock.monotonic_s() + sweep_s

    async def run(self) -> None:
        """Tick until cancelled. Read marks are written beside the rest, so that a slow store holds nothing else up."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._repeat(self.tick))
            group.create_task(self._repeat(self.read_marks.write_due))

    async def _repeat(self, step: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            try:
                await step()
            except Exception:
                log.exception("housekeeping failed")

    async def tick(self) -> None:
        """Do what is due now and needs no store."""
        now_s = self._clock.monotonic_s()
        self.descriptors.probe(now_s)
        self.lifecycle.expire_signs()
        await self.lifecycle.end_without_user(self._auth_timeout_s)
        await self.lifecycle.end_expired()
        if now_s >= self._next_sweep_s:
            self._next_sweep_s = now_s + self._sweep_s
            for sweep in self._sweeps:
                sweep(now_s)
                await asyncio.sleep(0)  # others have a turn before the next
            for _ in self._guards.forget():
                await asyncio.sleep(0)
            self.mended += self._guards.sweep(self._engine_sessions())
            self.mended += await self.lifecycle.sweep()
