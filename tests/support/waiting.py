"""Deadlines: no test sleeps, and none waits for ever."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Final, TypeVar

# Long enough for a busy machine; a test that passes never waits for it.
DEADLINE_S: Final = 30.0
_STEP_S: Final = 0.01

T = TypeVar("T")


async def eventually(what: str, look: Callable[[], T], *, deadline_s: float = DEADLINE_S) -> T:
    """Look again and again until there is something true to see, and return it.

    For what nobody tells about; where there is an event or a future, await that.
    Raises: AssertionError with `what` when the deadline passes.
    """
    end_s = time.monotonic() + deadline_s
    while not (seen := look()):
        if time.monotonic() > end_s:
            raise AssertionError(f"not within {deadline_s:g} s: {what} (last seen: {seen!r})")
        await asyncio.sleep(_STEP_S)
    return seen


class Lag:
    """How late the event loop was, all in all, while somebody looked."""

    def __init__(self) -> None:
        self._late_s = 0.0
        self._due_s = time.monotonic()

    @property
    def seconds(self) -> float:
        return self._late_s + max(0.0, time.monotonic() - self._due_s)

    async def look(self) -> None:
        while True:
            self._due_s = time.monotonic() + _STEP_S
            await asyncio.sleep(_STEP_S)
            self._late_s += time.monotonic() - self._due_s


@contextlib.asynccontextmanager
async def measured_lag() -> AsyncIterator[Lag]:
    """For a bound of time that holds on a quiet machine, and on a busy one is exceeded by this at most.

    It counts what delays this process. Where the time of another one is measured, it says nothing.
    """
    lag = Lag()
    looking = asyncio.create_task(lag.look())
    try:
        yield lag
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
