"""One check of a store for everybody who asks: probes cost the store the same, however many there are.

Knows no database. The stores share a check that is under way; the server also keeps its answer for a moment (app.py).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable

from ..errors import StoreUnavailable


class SharedCheck:
    """A check of which one at a time is under way; whoever asks meanwhile gets its answer.

    Args:
        check: raises StoreUnavailable unless the store can be used.
        kept_s: for how long an answer, good or bad, is given again without a new check.
        monotonic_s: the clock for that.
    """

    def __init__(
        self,
        check: Callable[[], Awaitable[None]],
        *,
        kept_s: float = 0.0,
        monotonic_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._check = check
        self._kept_s = kept_s
        self._monotonic_s = monotonic_s
        self._running: asyncio.Task[None] | None = None
        self._answered_s = -math.inf
        self._refusal: StoreUnavailable | None = None

    async def __call__(self) -> None:
        """Raises: StoreUnavailable."""
        if self._running is None:
            if self._monotonic_s() - self._answered_s >= self._kept_s:
                self._running = asyncio.ensure_future(self._run())
            elif self._refusal is not None:
                raise StoreUnavailable(self._refusal.message)
            else:
                return
        await asyncio.shield(self._running)  # one prober that hangs up does not take the answer from the others
        if self._refusal is not None:
            raise StoreUnavailable(self._refusal.message) from self._refusal

    async def _run(self) -> None:
        try:
            await self._check()
            self._refusal = None
        except StoreUnavailable as error:
            self._refusal = error
        finally:
            self._running = None
        self._answered_s = self._monotonic_s()
