"""What a client has sent and nobody has handled yet: in order, bounded in bytes. Knows no socket and no packet."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, TypeVar

from .intake import EVENT_BYTES, LOOK_BYTES, Intake, Meter

ITEM_OVERHEAD_BYTES: Final = 1024
"""What one waiting item counts beside its own length, so that the byte bound is a bound of their number too."""
ITEMS_PER_TURN: Final = 64
"""Items of one client that are handled without a pause; then the others get a turn."""

logger = logging.getLogger(__name__)


class Owner(Protocol):
    """Whose inbox it is."""

    def wake(self) -> bool:
        """Have a task that waits for work call `run`. Returns False if there is none."""

    def start(self) -> None:
        """Have `run` called in a task of its own."""

    def full(self) -> None:
        """More waits than may."""

    def eased(self) -> None:
        """Half of what may wait is left, after it was full."""

    def hand_over(self) -> None:
        """Whoever called `run` is gone, and something may wait still."""


AnyOwner = TypeVar("AnyOwner", bound=Owner)
Handle = Callable[[AnyOwner, Any], Awaitable[None]]
"""Handles one item of an owner's."""


class Inbox:
    """The items of one client, handled one at a time, in the order in which they were put.

    Args:
        limit_bytes: what may wait before the owner is told that it is `full`; 0 for any amount.
        intake, meter: what is handled is charged to these.

    Attributes:
        waiting_bytes: what waits, and the item that is being handled.
        working: whether a task handles what waits, or will in a moment.
    """

    __slots__ = ("_full", "_intake", "_items", "_limit_bytes", "_meter", "_owner", "_quiet", "waiting_bytes", "working")

    def __init__(self, owner: Owner, limit_bytes: int, intake: Intake, meter: Meter) -> None:
        self._owner = owner
        self._limit_bytes = limit_bytes
        self._intake = intake
        self._meter = meter
        self._items: deque[tuple[Any, int]] = deque()
        self._full = False
        self._quiet: asyncio.Event | None = None
        self.waiting_bytes = 0
        self.working = False

    def __len__(self) -> int:
        """Return how many items wait."""
        return len(self._items)

    @property
    def has_work(self) -> bool:
        """Whether something waits that no task is handling."""
        return bool(self._items) and not self.working

    @property
    def crowded(self) -> bool:
        """Whether more waits than may."""
        return 0 < self._limit_bytes < self.waiting_bytes

    def put(self, item: Any, size_bytes: int = 0) -> None:
        """Have `item` handled after all that was put before it. Never waits."""
        size_bytes += ITEM_OVERHEAD_BYTES
        self._items.append((item, size_bytes))
        self.waiting_bytes += size_bytes
        if 0 < self._limit_bytes < self.waiting_bytes:
            self._full = True
            self._owner.full()
        if not self.working and not self._owner.wake():
            self.start()

    def start(self) -> None:
        """Have what waits handled in a task of its own."""
        self.working = True
        self._owner.start()

    async def settled(self) -> None:
        """Wait until everything that was put is handled."""
        if self._quiet is None:
            self._quiet = asyncio.Event()
        while self.working or self._items:
            self._quiet.clear()
            await self._quiet.wait()

    async def run(self, handle: "Handle[Any]") -> None:
        """Handle what waits, in the caller's task. Not while another does."""
        self.working = True
        items = self._items
        owner = self._owner
        intake = self._intake
        handled = 0
        try:
            while items:
                intake.weight += EVENT_BYTES
                if intake.weight > LOOK_BYTES and intake.look() and not intake.first(self._meter):
                    await intake.turn(self._meter, EVENT_BYTES)
                item, size_bytes = items.popleft()
                try:
                    await handle(owner, item)
                except Exception:
                    logger.exception("an event could not be handled")
                self.waiting_bytes -= size_bytes
                if self._full and self.waiting_bytes * 2 <= self._limit_bytes:
                    self._full = False
                    owner.eased()
                handled += 1
                if handled % ITEMS_PER_TURN == 0 and items:
                    await asyncio.sleep(0)
        finally:
            self.working = False
            owner.hand_over()  # after a cancellation: somebody's disconnect has yet to be told
            if self._quiet is not None:
                self._quiet.set()
