"""What happens with time: sockets that never authenticated, or whose token has run out, are ended; typing and presence
run out, read marks are written, registries are swept. Two tasks for all of it, whatever the number of clients.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

from .chat.domain import Clock, UserId
from .chat.reading import MarkRead
from .chat.service import Chat
from .door.connects import Guards
from .door.rates import Rates
from .errors import ChatError
from .limits import Buckets
from .live.auto_read import AutoRead, Seen
from .live.fanout import Fanout
from .live.lifecycle import Lifecycle
from .live.presence import Presence
from .live.typing_indicator import TypingIndicator
from .ops.descriptors import Descriptors

log = logging.getLogger(__name__)

TICK_S: Final = 0.1


class Housekeeping:
    """The task that looks at the clock.

    Attributes:
        descriptors: says when there are none left.
        mended: how many differences the sweeps have found between our registries and the engine's.

    Args:
        engine_sessions: gives all sessions that the engine has.
        auth_timeout_s: how long a socket may be without a user.
        sweep_s: how often the registries are checked.
    """

    def __init__(
        self,
        *,
        chat: Chat,
        lifecycle: Lifecycle,
        presence: Presence,
        typing: TypingIndicator,
        auto_read: AutoRead,
        fanout: Fanout,
        buckets: Sequence[Buckets[UserId]],
        rates: Rates,
        guards: Guards,
        engine_sessions: Callable[[], Iterable[Any]],
        clock: Clock,
        auth_timeout_s: float,
        sweep_s: float,
    ) -> None:
        self._chat = chat
        self._lifecycle = lifecycle
        self._presence = presence
        self._typing = typing
        self._auto_read = auto_read
        self._fanout = fanout
        self._buckets = buckets
        self._rates = rates
        self._guards = guards
        self._engine_sessions = engine_sessions
        self._clock = clock
        self._auth_timeout_s = auth_timeout_s
        self._sweep_s = sweep_s
        self.mended = 0
        self.descriptors: Final = Descriptors()
        self._next_sweep_s = clock.monotonic_s() + sweep_s

    async def run(self) -> None:
        """Tick until cancelled. Read marks are written beside the rest, so that a slow store holds nothing else up."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._repeat(self.tick))
            group.create_task(self._repeat(self.write_read_marks))

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
        for typing in self._typing.expire(now_s):
            self._fanout.typing(typing.conversation_id, typing.user_id, False, sid=typing.sid)
        for user_id, last_seen_ms in self._presence.expire(now_s):
            self._fanout.presence(user_id, online=False, last_seen_ms=last_seen_ms)
        await self._lifecycle.end_without_user(self._auth_timeout_s)
        await self._lifecycle.end_expired()
        if now_s >= self._next_sweep_s:
            self._next_sweep_s = now_s + self._sweep_s
            for sweep in (*(buckets.sweep for buckets in self._buckets), self._rates.sweep):
                sweep(now_s)
                await asyncio.sleep(0)  # a full one takes 25 ms: others have a turn before the next
            self.mended += self._guards.sweep(self._engine_sessions())
            self.mended += await self._lifecycle.sweep()

    async def write_read_marks(self) -> None:
        """Ask for the automatic read marks that are due, and write those that are confirmed; they share commits."""
        for seen in self._auto_read.due(self._clock.monotonic_s()):
            self._fanout.ask(seen)
        await asyncio.gather(*(self._write_read_mark(seen) for seen in self._auto_read.confirmed()))

    async def _write_read_mark(self, seen: Seen) -> None:
        try:
            await self._chat.reading.mark(seen.user_id, MarkRead(seen.conversation_id, seen.seq))
        except ChatError as error:
            # The messages stay unread, and the next sight marks them.
            log.warning("a read mark was not written: %s", error.code)
