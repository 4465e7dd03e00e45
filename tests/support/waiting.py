"""Deadlines: no test sleeps, and none waits for ever."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, TypeVar

# Long enough for a busy machine; a test that passes never waits for it.
DEADLINE_S: Final = 10.0
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
