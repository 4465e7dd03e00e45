"""The embedded store: one SQLite file, threads that write, read and check, and many callers per transaction.

Owns the event loop's side. The way of a write: the call joins its tick's list; at the end of the tick the list goes to
the writer in one hop; the writer takes every list that waits and commits all in one transaction (threads.py,
writes.py); one callback on the loop hands out the results, in the order of the calls. While a commit is under way
the next one fills up.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from ...chat.changes import Change
from ...chat.domain import Conversation, ConversationDraft, ConversationId, Message, MessageDraft, UserId
from ...chat.identity import Profile, ProfileUpdate
from ...chat.own_settings import OwnSettings, SettingsUpdate
from ...chat.people import ConversationChange
from ...errors import StoreUnavailable
from ..base import StoreObserver, StoreUnusable
from ..checking import SharedCheck
from ..encoding import dump_metadata
from ..results import (
    Appended,
    Changed,
    ChangePage,
    ConversationPage,
    Counts,
    Created,
    MessagePage,
    ProfileSet,
    ReadAdvance,
    ReadMarkPage,
    Reformed,
    Snapshot,
)
from ..writes import (
    Admission,
    Advance,
    Alter,
    Append,
    Call,
    Create,
    Reform,
    SetProfile,
    SetSettings,
    Unobserved,
    settle,
)
from . import conversations, lists, reads, writes
from .database import LOG_LIMIT_BYTES, DatabaseFile, SqliteConnection
from .threads import WRITES_PER_COMMIT, CallQueue, Job, Worker
from .write_ahead_log import LOOK_S, LogKeeper

T = TypeVar("T")

_READERS: Final = 2  # threads, each with a connection of its own

# Writes until the log is copied into the file: 20 to 60 MB of log. With fewer the same pages are copied again and
# again; with more the log gets longer, and so does a start after a crash.
WRITES_PER_CHECKPOINT: Final = 4096

# The pace of the last commit says when there will be room; that is not worth less than this.
_LEAST_RETRY_AFTER_MS: Final = 100


class SqliteStore:
    """A `Copyable` store (base.py describes each method) on one SQLite file.

    Args:
        file: the database file's path, made if it is missing (its directory is not); ':memory:' for one that ends with
            the store; or a `DatabaseFile`, which opens its connections in its own way.
        max_queued_writes: writes that may wait or be under way; one more is refused with Overloaded.
        busy_timeout_s: how long to wait for another process's lock before StoreUnavailable; a `DatabaseFile` has its
            own.
        observer: told of commits, retries and failures, on the threads that have them.
        writes_per_checkpoint, log_limit_bytes, log_look_s: when the log is copied, cut and looked at
            (write_ahead_log.py).

    Attributes:
        path: absolute, or ':memory:'.

    Several processes on one machine may use one file; SQLite's locks do not hold across network file systems.
    Source: docs/storage.md#sqlite
    """

    def __init__(
        self,
        file: str | DatabaseFile,
        *,
        max_queued_writes: int = 10_000,
        busy_timeout_s: float = 2.0,
        observer: StoreObserver | None = None,
        writes_per_checkpoint: int = WRITES_PER_CHECKPOINT,
        log_limit_bytes: int = LOG_LIMIT_BYTES,
        log_look_s: float = LOOK_S,
    ) -> None:
        self._file = DatabaseFile(file, busy_s=busy_timeout_s) if isinstance(file, str) else file
        self.path = self._file.path
        self._observer: StoreObserver = Unobserved() if observer is None else observer
        self._writes_per_checkpoint = writes_per_checkpoint
        self._log_limit_bytes = log_limit_bytes
        self._log_look_s = log_look_s
        self._keeper: LogKeeper | None = None
        self._admission = Admission(max_queued_writes, self._retry_after_ms)
        self._loop: asyncio.AbstractEventLoop | None = None  # set while the store is open
        self._to_writer: CallQueue = queue.SimpleQueue()
        self._to_readers: CallQueue = queue.SimpleQueue()
        self._to_checker: CallQueue = queue.SimpleQueue()
        self._writer: Worker | None = None
        self._running: list[asyncio.Future[None]] = []
        self._tick: list[Call[Any]] = []
        self._shared_check = SharedCheck(self._check)

    async def open(self) -> None:
        if self._loop is not None:
            return
        try:
            connection = await asyncio.to_thread(self._file.writer, create=True)
        except StoreUnavailable as error:
            raise StoreUnusable(error.message) from error
        self._loop = asyncio.get_running_loop()
        self._to_writer, self._to_readers, self._to_checker = (queue.SimpleQueue() for _ in range(3))
        self._writer = self._start(
            "sqlite-writer", self._to_writer, lambda: self._file.writer(create=False), self._settle_queued, connection
        )
        if not self._file.in_memory:
            for number in range(_READERS):
                self._start(f"sqlite-reader-{number}", self._to_readers, self._file.reader, settle)
            self._keeper = LogKeeper(
                self._file.path,
                writes_per_copy=self._writes_per_checkpoint,
                limit_bytes=self._log_limit_bytes,
                on_reader=self._on_reader,
                on_writer=self._on_writer,
                observer=self._observer,
                look_s=self._log_look_s,
            )
            self._start("sqlite-checker", self._to_checker, lambda: self._file.writer(create=False), settle)

    async def close(self) -> None:
        if self._keeper is not None:
            await self._keeper.close()
            self._keeper = None
        if self._loop is not None:
            self._flush()
            self._loop = None
            for _ in range(_READERS):
                self._to_readers.put(None)
            self._to_checker.put(None)
            self._to_writer.put(None)
        if self._running:
            await asyncio.wait(self._running)

    async def check(self) -> None:
        await self._shared_check()

    async def _check(self) -> None:
        writer = self._writer

        def check(connection: SqliteConnection) -> None:
            with connection.transaction():
                if writer is not None and writer.away:
                    # Taking the lock does not tell whether a full disk has room again; a write does.
                    connection.touch()

        job = Job(self._opened().create_future(), check)
        if self._file.in_memory:
            await self._queue(job)
        else:  # on a thread and a connection of its own: a probe that waits for a lock holds up no write
            self._to_checker.put([job])
            await job.future

    async def create_conversation(self, draft: ConversationDraft) -> Created:
        return await self._queue(Create(self._admit().create_future(), draft))

    async def append_message(self, draft: MessageDraft) -> Appended:
        metadata = dump_metadata(draft.metadata)
        return await self._queue(Append(self._admit().create_future(), draft, metadata))

    async def change_message(self, change: Change) -> Changed:
        return await self._queue(Alter(self._admit().create_future(), change))

    async def change_conversation(
        self, change: ConversationChange, numbered: Callable[[], None] = lambda: None
    ) -> Reformed:
        call = Reform(self._admit().create_future(), change)
        numbered()
        return await self._queue(call)

    async def advance_read(self, conversation_id: ConversationId, user_id: UserId, seq: int, at_ms: int) -> ReadAdvance:
        return await self._queue(Advance(self._admit().create_future(), conversation_id, user_id, seq, at_ms))

    async def set_settings(
        self, conversation_id: ConversationId, user_id: UserId, update: SettingsUpdate
    ) -> OwnSettings:
        return await self._queue(SetSettings(self._admit().create_future(), conversation_id, user_id, update))

    async def set_profile(self, update: ProfileUpdate) -> ProfileSet:
        return await self._queue(SetProfile(self._admit().create_future(), update))

    async def newest_activity(self) -> int:
        return await self._read(reads.newest_activity)

    async def get_conversation(self, conversation_id: ConversationId) -> Conversation | None:
        return await self._read(lambda sql: reads.get_conversation(sql, conversation_id))

    async def get_snapshot(
        self,
        conversation_id: ConversationId,
        *,
        after: int | None,
        limit: int,
        reader: UserId | None = None,
        participants: int | None = None,
    ) -> Snapshot | None:
        return await self._read(
            lambda sql: reads.get_snapshot(sql, conversation_id, after, limit, reader, participants)
        )

    async def list_read_marks(
        self, conversation_id: ConversationId, *, after: UserId | None, limit: int
    ) -> ReadMarkPage:
        return await self._read(lambda sql: reads.list_read_marks(sql, conversation_id, after, limit))

    async def list_conversations(
        self,
        user_id: UserId,
        *,
        limit: int,
        before: tuple[int, ConversationId] | None,
        participants: int | None = None,
    ) -> ConversationPage:
        return await self._read(lambda sql: lists.list_conversations(sql, user_id, limit, before, participants))

    async def list_readers(
        self, parts: Sequence[tuple[ConversationId, UserId]]
    ) -> frozenset[tuple[ConversationId, UserId]]:
        return await self._read(lambda sql: reads.list_readers(sql, parts))

    async def list_changes(self, conversation_id: ConversationId, *, after: int, limit: int) -> ChangePage:
        return await self._read(lambda sql: reads.list_changes(sql, conversation_id, after, limit))

    async def newest_changes(self, ids: Sequence[ConversationId]) -> Mapping[ConversationId, int]:
        return await self._read(lambda sql: reads.newest_changes(sql, ids))

    async def get_last_message(self, conversation_id: ConversationId) -> Message | None:
        return await self._read(lambda sql: reads.get_last_message(sql, conversation_id))

    async def get_messages(self, conversation_id: ConversationId, seqs: Sequence[int]) -> tuple[Message, ...]:
        return await self._read(lambda sql: reads.get_messages(sql, conversation_id, seqs))

    async def list_messages(
        self,
        conversation_id: ConversationId,
        *,
        before_seq: int | None = None,
        after_seq: int | None = None,
        limit: int,
    ) -> MessagePage:
        if before_seq is not None and after_seq is not None:
            raise ValueError("before_seq and after_seq exclude each other")
        return await self._read(lambda sql: reads.list_messages(sql, conversation_id, before_seq, after_seq, limit))

    async def get_profiles(self, user_ids: Sequence[UserId]) -> Sequence[Profile]:
        return await self._read(lambda sql: reads.get_profiles(sql, user_ids))

    async def count(self) -> Counts:
        return await self._read(reads.count)

    async def list_drafts(self, *, after: ConversationId | None, limit: int) -> Sequence[ConversationDraft]:
        return await self._read(lambda sql: reads.list_drafts(sql, after, limit))

    async def copy_conversation(self, draft: ConversationDraft) -> None:
        def copy(connection: SqliteConnection) -> None:
            with connection.transaction():
                conversations.copy_conversation(connection.sql, draft)

        await self._on_writer(copy)

    async def list_settings(self, conversation_id: ConversationId) -> Mapping[UserId, OwnSettings]:
        return await self._read(lambda sql: lists.list_settings(sql, conversation_id))

    async def copy_messages(self, messages: Sequence[Message], activity_at_ms: int) -> None:
        def copy(connection: SqliteConnection) -> None:
            with connection.transaction():
                writes.copy_messages(connection.sql, messages, activity_at_ms)

        await self._on_writer(copy)

    async def list_profiles(self, *, after: UserId | None, limit: int) -> Sequence[Profile]:
        return await self._read(lambda sql: reads.list_profiles(sql, after, limit))

    def _opened(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            raise StoreUnavailable("The message store is not open.")
        return self._loop

    def _admit(self) -> asyncio.AbstractEventLoop:
        """Let one more write in. Raises: StoreUnavailable, Overloaded."""
        loop = self._opened()
        self._admission.check()
        return loop

    def _retry_after_ms(self, waiting: int) -> int:
        pace_s = self._writer.seconds_per_write if self._writer else 0
        return max(_LEAST_RETRY_AFTER_MS, round(waiting * pace_s * 1000))

    def _queue(self, call: Call[T]) -> asyncio.Future[T]:
        """Hand a call to the writer at the end of this tick."""
        if not self._tick:
            call.future.get_loop().call_soon(self._flush)
        self._tick.append(call)
        self._admission.waiting += 1
        return call.future

    def _flush(self) -> None:
        if self._tick:
            self._to_writer.put(self._tick)
            self._tick = []

    async def _read(self, read: Callable[[sqlite3.Connection], T]) -> T:
        def run(connection: SqliteConnection) -> T:
            with connection.snapshot():
                return read(connection.sql)

        return await self._on_reader(run)

    async def _on_reader(self, run: Callable[[SqliteConnection], T]) -> T:
        job: Job[T] = Job(self._opened().create_future(), run)
        if self._file.in_memory:  # there is only the writer's connection
            return await self._queue(job)
        self._to_readers.put([job])
        return await job.future

    async def _on_writer(self, run: Callable[[SqliteConnection], T]) -> T:
        return await self._queue(Job(self._opened().create_future(), run))

    def _start(
        self,
        name: str,
        calls: CallQueue,
        connect: Callable[[], SqliteConnection],
        answer: Callable[[Sequence[Call[Any]]], None],
        connection: SqliteConnection | None = None,
    ) -> Worker:
        """A worker whose finished calls are settled on the loop, a batch per callback."""
        loop = self._opened()
        stopped: asyncio.Future[None] = loop.create_future()
        self._running.append(stopped)

        def on_loop(callback: Callable[..., None], *args: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed before the store
                loop.call_soon_threadsafe(callback, *args)

        return Worker(
            name,
            calls,
            most=WRITES_PER_COMMIT if calls is self._to_writer else 1,
            connect=connect,
            deliver=lambda batch: on_loop(answer, batch),
            stopped=lambda: on_loop(stopped.set_result, None),
            observer=self._observer,
            connection=connection,
        )

    def _settle_queued(self, calls: Sequence[Call[Any]]) -> None:
        self._admission.waiting -= len(calls)
        settle(calls)
        if self._keeper is not None:
            self._keeper.written(len(calls))
