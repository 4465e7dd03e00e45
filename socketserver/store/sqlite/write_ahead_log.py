"""SQLite's write-ahead log: copied into the database file beside the writer, and kept from growing for ever.

The log can start anew only when all of it has been copied and nobody reads from it any more. A reader that keeps a
transaction open (a backup, a shell, a viewer) prevents that for as long, and the file would stay as large afterwards.
Knows nothing of calls and threads: it is given what runs on a reader's and on the writer's connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable
from typing import Final

from ...errors import ChatError
from ..base import StoreObserver
from .database import SqliteConnection

_log = logging.getLogger(__name__)

# How often the log is looked at when nobody writes.
LOOK_S: Final = 10.0

# What the writer may still have to copy when the log is cut: a few milliseconds in which commits wait.
_MOST_LEFT_PAGES: Final = 1024

Run = Callable[[Callable[[SqliteConnection], "Left"]], Awaitable["Left"]]
Left = tuple[int, int]
"""The size of the log's file in bytes, and how many of its pages are not copied yet."""


class LogKeeper:
    """Looks after the log of one database file.

    Args:
        path: the database file.
        writes_per_copy: after so many writes it is copied into the database file.
        limit_bytes: above it the file of a log that is done with is cut.
        on_reader, on_writer: run something on a reader's connection, and on the writer's between two commits.
        observer: told how large the log is.
        look_s: how often it is looked at, whatever is written.
    """

    def __init__(
        self,
        path: str,
        *,
        writes_per_copy: int,
        limit_bytes: int,
        on_reader: Run,
        on_writer: Run,
        observer: StoreObserver,
        look_s: float = LOOK_S,
    ) -> None:
        self._path = f"{path}-wal"
        self._writes_per_copy = writes_per_copy
        self._limit_bytes = limit_bytes
        self._on_reader = on_reader
        self._on_writer = on_writer
        self._observer = observer
        self._look_s = look_s
        self._unsaved = 0
        self._due = asyncio.Event()
        self._warned_bytes = 0
        self._task = asyncio.ensure_future(self._run())

    def written(self, writes: int) -> None:
        """So many more writes are in the log."""
        self._unsaved += writes
        if self._unsaved >= self._writes_per_copy:
            self._due.set()

    async def close(self) -> None:
        """Look no more."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._look_s):  # not wait_for, which may swallow the end (Python 3.11)
                    await self._due.wait()
            copy = self._due.is_set()
            self._due.clear()
            if copy:
                self._unsaved = 0
            try:
                await self._look(copy=copy)
            except ChatError:
                pass  # an outage; SQLite's own checkpoints are still there
            except Exception:
                _log.exception("The write-ahead log could not be looked after")

    async def _look(self, *, copy: bool) -> None:
        """Copy the log into the database file, if it is time for it or the log is large.

        First a reader does the bulk, while the writer goes on; then the writer does the rest, which is little, so that
        the log is finished for a moment and can start anew. Left to a reader alone it would grow for ever under load.
        """
        size_bytes, _ = await self._on_reader(self._measure)
        if copy or size_bytes > self._limit_bytes:
            size_bytes, left_pages = await self._on_reader(self._copy)
            large = size_bytes > self._limit_bytes
            if left_pages <= _MOST_LEFT_PAGES:
                size_bytes, left_pages = await self._on_writer(self._cut if large else self._copy)
            self._tell(size_bytes, blocked=left_pages > 0)
        elif self._warned_bytes:
            self._tell(size_bytes, blocked=False)
        self._observer.log_size(size_bytes)

    def _tell(self, size_bytes: int, *, blocked: bool) -> None:
        """One line when the log is large and cannot be finished, one each time it has doubled, and one at the end."""
        if blocked and size_bytes > max(self._limit_bytes, 2 * self._warned_bytes):
            self._warned_bytes = size_bytes
            _log.warning(
                "The write-ahead log of the SQLite database has %.0f MB and cannot start anew: somebody keeps a "
                "reading transaction open on the file (a backup, a shell, a viewer). It is cut when that ends.",
                size_bytes / 1e6,
            )
        elif self._warned_bytes and size_bytes <= self._limit_bytes:
            self._warned_bytes = 0
            _log.info("The write-ahead log of the SQLite database could start anew.")

    def _measure(self, connection: SqliteConnection) -> Left:
        return self._size_bytes(), 0

    def _copy(self, connection: SqliteConnection) -> Left:
        left_pages = connection.checkpoint()
        return self._size_bytes(), left_pages

    def _cut(self, connection: SqliteConnection) -> Left:
        left_pages = connection.checkpoint(cut=True)
        return self._size_bytes(), left_pages

    def _size_bytes(self) -> int:
        try:
            return os.stat(self._path).st_size
        except OSError:
            return 0
