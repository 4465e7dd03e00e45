"""How the chat stops: refuse, answer, say goodbye, close. Each phase has its share of one budget of time.

Knows no signals (stopping.py has them) and no HTTP server. Source: docs/decisions/0014-how-it-stops.md
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Final

from ..door.connects import Guards
from ..errors import RESTART
from ..logs import get_logger
from ..realtime import AsyncServer
from .lifecycle import Lifecycle

log = get_logger(__name__)

# Range of the times, in milliseconds, after which clients are told to come back; each gets its own. Not below the time
# that clients wait by themselves: one whose three attempts are over before the new server listens gives up.
RESTART_SPREAD_MS: Final = (2_000, 6_000)

# Shares of the budget: of the answers to what has arrived, of the last words on their way to the clients, and of the
# store's end, which has what the others have left, too.
ANSWERS_SHARE: Final = 0.5
GOODBYE_SHARE: Final = 0.2
CLOSE_SHARE: Final = 0.3


class Shutdown:
    """The stop of one application. Every phase happens once, whoever asks for it and however often.

    Args:
        budget_s: how long all phases may take together.
    """

    def __init__(self, sio: AsyncServer, guards: Guards, lifecycle: Lifecycle, budget_s: float) -> None:
        self._sio = sio
        self._guards = guards
        self._lifecycle = lifecycle
        self._budget_s: Final = budget_s
        self._until_s: float | None = None
        self._ending: asyncio.Task[None] | None = None

    async def end_clients(self) -> None:
        """Let nobody in any more, answer what is under way, and tell every client that the server restarts.

        Whoever calls it while the server still listens reaches also the polling clients that are between two polls.
        """
        if self._ending is None:
            self._ending = asyncio.get_running_loop().create_task(self._end_clients())
        await asyncio.shield(self._ending)

    async def on_shutdown(self, app: object) -> None:
        """`end_clients`, as aiohttp calls it at the latest."""
        await self.end_clients()

    async def close(self, *parts: Callable[[], Awaitable[None]]) -> None:
        """Close what the clients needed, one after the other, within what is left of the budget."""
        left_s = self._start() - monotonic()
        try:
            async with asyncio.timeout(max(left_s, self._budget_s * CLOSE_SHARE)):
                for part in parts:
                    await part()
        except TimeoutError:
            log.warning("not everything was closed within the time for it")

    async def _end_clients(self) -> None:
        self._start()
        self._refuse()
        await self._answer_and_say_goodbye()
        await self._sio.shutdown(self._budget_s * GOODBYE_SHARE)

    def _start(self) -> float:
        """Returns: when the budget is used up."""
        if self._until_s is None:
            self._until_s = monotonic() + self._budget_s
        return self._until_s

    def _refuse(self) -> None:
        self._guards.draining = True
        self._sio.drain()

    async def _answer_and_say_goodbye(self) -> None:
        await self._lifecycle.end_all(
            RESTART,
            retry_after_ms=lambda: random.randint(*RESTART_SPREAD_MS),  # noqa: S311
            within_s=self._budget_s * ANSWERS_SHARE,
            arriving=tuple(self._guards.visits),
        )
