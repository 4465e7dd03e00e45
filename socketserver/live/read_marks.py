"""Writes the automatic read marks: asks the pages that are due, and stores what they have confirmed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from ..chat.domain import Clock, UserId
from ..chat.reading import MarkRead
from ..errors import ChatError
from .auto_read import AutoRead, Seen
from .fanout import Fanout

log = logging.getLogger(__name__)


class ReadMarks:
    """The way of a mark from a page to the store.

    Args:
        write: stores one mark, and announces it: `Reading.mark`.
    """

    def __init__(
        self,
        auto_read: AutoRead,
        fanout: Fanout,
        write: Callable[[UserId, MarkRead], Awaitable[object]],
        clock: Clock,
    ) -> None:
        self._auto_read: Final = auto_read
        self._fanout: Final = fanout
        self._write: Final = write
        self._clock: Final = clock

    def __len__(self) -> int:
        return len(self._auto_read)

    async def write_due(self) -> None:
        """Ask for the marks that are due, and write those that are confirmed; they share commits."""
        for seen in self._auto_read.due(self._clock.monotonic_s()):
            self._fanout.ask(seen)
        await asyncio.gather(*(self._write_one(seen) for seen in self._auto_read.confirmed()))

    async def _write_one(self, seen: Seen) -> None:
        try:
            await self._write(seen.user_id, MarkRead(seen.conversation_id, seen.seq))
        except ChatError as error:
            # The messages stay unread, and the next sight marks them.
            log.warning("a read mark was not written: %s", error.code)
