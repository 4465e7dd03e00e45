"""Who may use the database: how many at once, how many writes may wait, and what an outage tells whom.

Source: docs/storage.md#what-is-promised
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import Any, Final, TypeVar

from ...chat.domain import ConversationId
from ...errors import StoreUnavailable
from ..base import StoreObserver
from ..lanes import Lanes
from ..writes import Admission, Call, Outages, broken, settle, unavailable
from .appends import RETRY_AFTER_MS
from .database import MongoDatabase, MongoError, is_away

_log = logging.getLogger(__name__)

T = TypeVar("T")

# Callers that use the database at once, beside the flights: fewer than motor has threads, five a core.
_QUESTIONS: Final = max(2, min(8, 5 * (os.cpu_count() or 1) - 3))
_PROBE_S: Final = 0.25  # between two looks whether a database that is away is back


class Access:
    """The way to a database, for callers and for what carries their calls.

    Args:
        most_writes: that may wait or be under way; one more is refused with Overloaded.
    """

    def __init__(self, database: MongoDatabase, observer: StoreObserver, most_writes: int) -> None:
        self._database = database
        self._observer = observer
        self._outages = Outages(_log, observer, lost="MongoDB cannot be used: %s", back="MongoDB can be used again.")
        self._admission = Admission(most_writes, lambda _: RETRY_AFTER_MS)
        self._loop: asyncio.AbstractEventLoop | None = None  # set while it is open
        self._asking = asyncio.Semaphore(_QUESTIONS)
        self._carrying: set[asyncio.Task[None]] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_open(self) -> bool:
        """Whether anybody may use it."""
        return self._loop is not None

    def open(self) -> None:
        """Let callers in, on this event loop."""
        self._asking = asyncio.Semaphore(_QUESTIONS)
        self._outages.away = False
        self._loop = asyncio.get_running_loop()

    def refuse(self) -> None:
        """Let nobody in any more."""
        self._loop = None

    async def finish(self) -> None:
        """Wait for the calls that are carried, and end what runs beside them."""
        if self._carrying:
            await asyncio.wait(self._carrying)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def admit(self) -> asyncio.AbstractEventLoop:
        """Let one more write in. Raises: StoreUnavailable, Overloaded."""
        loop = self.require()
        self._admission.check()
        return loop

    def require(self) -> asyncio.AbstractEventLoop:
        """Refuse at once what would only run into a timeout. Raises: StoreUnavailable."""
        if self._loop is None:
            raise StoreUnavailable("The message store is not open.")
        if self._outages.away:
            raise StoreUnavailable
        return self._loop

    async def queue(self, lanes: Lanes[Any], lane: ConversationId | None, call: Call[T]) -> T:
        """Put a call into its lane, count it until it is answered, and wait for that."""
        lanes.add(lane, call)
        self._admission.waiting += 1
        call.future.add_done_callback(self._left)
        return await call.future

    async def carry(self, call: Call[T], work: Callable[[], Awaitable[None]]) -> T:
        """Do a call by itself, to its end whatever becomes of its caller; `work` leaves a result in it or raises."""
        task = asyncio.ensure_future(_carry(call, work))
        self._carrying.add(task)
        task.add_done_callback(self._carrying.discard)
        self._admission.waiting += 1
        task.add_done_callback(self._left)
        return await call.future

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something beside the calls; the end does not wait for it."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _left(self, _: object) -> None:
        self._admission.waiting -= 1

    @contextlib.asynccontextmanager
    async def answering(self) -> AsyncIterator[None]:
        """Around a caller's own use of the database: outages become StoreUnavailable.

        A few at a time, and the others wait here rather than for one of motor's threads: there each would run into a
        timeout of its own when the database is away; here all are refused after the first.
        """
        self.require()
        async with self._asking:
            self.require()
            try:
                yield
            except MongoError as error:
                self._failed(error)
                raise unavailable(error) from error

    @contextlib.contextmanager
    def landing(self, calls: Sequence[Call[Any]]) -> Iterator[None]:
        """Around a flight: what goes wrong is told to every call that has no answer yet."""
        try:
            if self._outages.away:
                raise StoreUnavailable
            started_s = time.perf_counter()
            yield
            self._observer.committed(len(calls), time.perf_counter() - started_s)
        except Exception as error:
            tell: Callable[[BaseException], BaseException] = unavailable
            if isinstance(error, MongoError):
                self._failed(error)
            elif not isinstance(error, StoreUnavailable):
                _log.error("A call to the MongoDB store failed", exc_info=error)
                tell = broken
            for call in calls:
                if call.open:
                    call.error = tell(error)

    def _failed(self, error: MongoError) -> None:
        """Note an error of the driver's; if nobody answers, later calls are refused at once until somebody does."""
        if self._outages.failed(error, away=is_away(error)) and self._loop is not None:
            # (Whoever closes the store does not wait until the database is back.)
            self.start(self._probe())

    async def _probe(self) -> None:
        """Look until the database is back."""
        while self._outages.away:
            try:
                await self._database.ping()
            except MongoError:
                await asyncio.sleep(random.uniform(0.5, 1.5) * _PROBE_S)  # noqa: S311 - jitter
            else:
                self._outages.over()


async def _carry(call: Call[Any], work: Callable[[], Awaitable[None]]) -> None:
    try:
        await work()
    except Exception as error:
        call.error = error
    settle([call])
