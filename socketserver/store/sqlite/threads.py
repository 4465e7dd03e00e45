"""The threads of the SQLite store: each takes calls from a queue, does them on its own connection, hands them back.

Owns batching, rollback and recovery. Knows nothing of what a call reads or writes, and of the event loop only that
`deliver` takes finished calls there.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from ...errors import ChatError, LimitExceeded
from ..base import StoreObserver
from ..writes import Call, Outages, Write, broken, unavailable
from .database import SqliteConnection, is_locked, is_outage
from .writes import apply

_log = logging.getLogger(__name__)

T = TypeVar("T")

# At most: enough to make the fsync cheap for each, few enough to keep a transaction at some milliseconds.
WRITES_PER_COMMIT: Final = 512


@dataclass(slots=True, eq=False)
class Job(Call[T]):
    """Anything to do with a connection that is not a write."""

    run: Callable[[SqliteConnection], T]


# What a thread is sent: calls, in order; None to finish.
CallQueue = queue.SimpleQueue[Sequence[Call[Any]] | None]


class Worker:
    """One thread and its connection.

    Args:
        name: the thread's.
        calls: where calls come from; several workers may share a queue. At None the worker finishes what it has.
        most: calls that it takes at once.
        connect: opens the connection, at first and after an outage.
        deliver: takes calls that have their result or error, in the order in which they came; must not block.
        stopped: called at the end.
        connection: one that is open already.
        observer: told of commits, retries and failures, on this thread.

    Attributes:
        seconds_per_write: what a write of the last transaction took, its share of the commit included.
    """

    def __init__(
        self,
        name: str,
        calls: CallQueue,
        *,
        most: int,
        connect: Callable[[], SqliteConnection],
        deliver: Callable[[Sequence[Call[Any]]], None],
        stopped: Callable[[], None],
        observer: StoreObserver,
        connection: SqliteConnection | None = None,
    ) -> None:
        self.seconds_per_write = 0.0
        self._observer = observer
        self._outages = Outages(
            _log,
            observer,
            lost="The SQLite database cannot be used: %s",
            back="The SQLite database can be written again.",
        )
        self._calls = calls
        self._most = most
        self._connect = connect
        self._deliver = deliver
        self._stopped = stopped
        self._connection = connection
        self._waiting: deque[Call[Any]] = deque()
        # A daemon: a program that ends without close() must not hang; what it acknowledged is on disk.
        threading.Thread(target=self._run, name=name, daemon=True).start()

    @property
    def away(self) -> bool:
        """Whether the last write failed because the database could not be used."""
        return self._outages.away

    def _run(self) -> None:
        while self._take():
            batch = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
            try:
                self._do(batch)
            except BaseException as error:  # a thread that ended here would leave every later caller waiting
                for call in batch:
                    call.error = _refusal(error)
            self._deliver(batch)
        self._disconnect()
        self._stopped()

    def _take(self) -> bool:
        """Wait for calls, and take all there are, up to a batch; False at the end."""
        while len(self._waiting) < self._most:
            try:
                calls = self._calls.get(block=not self._waiting)
            except queue.Empty:
                break
            if calls is None:
                if self._waiting:
                    self._calls.put(None)  # for the next round, after these
                    break
                return False
            self._waiting.extend(calls)
        return True

    def _do(self, batch: list[Call[Any]]) -> None:
        writes = [call for call in batch if isinstance(call, Write)]
        jobs = [call for call in batch if isinstance(call, Job)]
        outage = self._commit(writes) if writes else None
        while jobs and outage is None:
            # After the writes: reads of ':memory:' come this way and see everything acknowledged.
            outage = self._run_job(jobs.pop(0))
        if outage is not None:
            self._fail_waiting(batch, jobs, outage)

    def _commit(self, writes: Sequence[Write]) -> BaseException | None:
        """Do writes in one transaction; if one of them cannot be done, each in its own. Returns an outage."""
        started = time.perf_counter()
        try:
            connection = self._connected()
            with connection.transaction(hurried=self._outages.away):
                apply(connection.sql, writes)
        except Exception as error:
            if is_outage(error):
                self._lost(error)
                for write in writes:
                    write.result, write.error = None, unavailable(error)
                return error
            if len(writes) > 1:
                self._observer.retried()
                return self._commit_each(writes)
            writes[0].error = _refusal(error)
            return None
        seconds = time.perf_counter() - started
        self.seconds_per_write = seconds / len(writes)
        self._observer.committed(len(writes), seconds)
        self._outages.over()
        return None

    def _commit_each(self, writes: Sequence[Write]) -> BaseException | None:
        for place, write in enumerate(writes):
            outage = self._commit([write])
            if outage is not None:
                for failed in writes[place + 1 :]:
                    failed.error = unavailable(outage)
                return outage
        return None

    def _fail_waiting(self, batch: list[Call[Any]], jobs: list[Job[Any]], outage: BaseException) -> None:
        """Fail all that waits, the rest of a batch first: each would only wait for the same lock in its turn.

        Args:
            batch: what is handed back next; gets what waits.
            jobs: those of its calls that were not tried.
        """
        failed: list[Call[Any]] = [*jobs, *self._waiting]
        batch.extend(self._waiting)
        self._waiting.clear()
        with contextlib.suppress(queue.Empty):
            while (calls := self._calls.get_nowait()) is not None:
                failed.extend(calls)
                batch.extend(calls)
            self._calls.put(None)
        for call in failed:
            call.error = unavailable(outage)

    def _run_job(self, job: Job[Any]) -> BaseException | None:
        """Returns an outage that the others who wait would run into as well."""
        try:
            job.result = job.run(self._connected())
        except Exception as error:
            if not is_outage(error):
                job.error = _refusal(error)
                return None
            # Read from a broken place of the file, the others may still be lucky; without a connection nobody is.
            shared = self._connection is None or is_locked(error)
            self._lost(error)
            job.error = unavailable(error)
            return error if shared else None
        return None

    def _connected(self) -> SqliteConnection:
        if self._connection is not None and not self._connection.is_current():
            self._disconnect()
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    def _lost(self, outage: BaseException) -> None:
        self._outages.failed(outage)
        # A new connection the next time: what SQLite holds in memory after an I/O error is not to be relied on.
        if self._connection is not None and not self._connection.in_memory:
            self._disconnect()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _refusal(error: BaseException) -> BaseException:
    """What the caller is told of an error that concerns this one call."""
    if isinstance(error, ChatError):
        return error
    if isinstance(error, sqlite3.DataError):
        told: Exception = LimitExceeded("The message is larger than the store can hold.")
    elif isinstance(error, ValueError | OverflowError):
        told = ValueError(f"The store cannot hold this value: {error}")
    else:
        _log.error("A call to the SQLite store failed", exc_info=error)
        return broken(error)
    told.__cause__ = error
    return told
