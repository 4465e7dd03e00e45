"""SQLite's bad days: locked, full, read-only, gone, broken. Each is answered with StoreUnavailable, writes nothing by
halves, and is over by itself when its cause is."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import shutil
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from socketserver.chat.domain import ConversationId
from socketserver.errors import InternalError, LimitExceeded, Overloaded, StoreUnavailable
from socketserver.store.sqlite.database import DatabaseFile, SqliteConnection
from socketserver.store.sqlite.schema import APPLICATION_ID, MIGRATIONS
from socketserver.store.sqlite.sqlite_store import SqliteStore

import pytest
from support.stores import ANN, BOB, NOW_MS, Watching, conversation_draft, group, message_draft, sequence

BUSY_S = 0.2


@pytest.fixture
def path(tmp_path: Path) -> Path:
    directory = tmp_path / "data"
    directory.mkdir()
    return directory / "chat.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    made = SqliteStore(str(path), busy_timeout_s=BUSY_S)
    await made.open()
    yield made
    await made.close()


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another process holds the write lock."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


async def assert_away_then_back(
    store: SqliteStore, conversation_id: ConversationId, fault: contextlib.AbstractContextManager[None]
) -> None:
    """The course that every fault takes."""
    first = (await store.append_message(message_draft(conversation_id))).message.seq
    drafts = [message_draft(conversation_id, str(number)) for number in range(20)]
    with fault:
        results = await asyncio.gather(*(store.append_message(draft) for draft in drafts), return_exceptions=True)
        assert [type(result) for result in results] == [StoreUnavailable] * 20
        with pytest.raises(StoreUnavailable):
            await store.create_conversation(conversation_draft(BOB))
        with pytest.raises(StoreUnavailable):
            await store.advance_read(conversation_id, BOB, 1, NOW_MS)
        with pytest.raises(StoreUnavailable):
            await store.check()
    await store.check()
    assert await sequence(store, conversation_id) == list(range(1, first + 1))  # nothing half-written
    again = await asyncio.gather(*(store.append_message(draft) for draft in drafts))
    assert [result.message.seq for result in again] == list(range(first + 1, first + 21))
    assert not any(result.duplicate for result in again)
    assert not (await store.create_conversation(conversation_draft(BOB))).duplicate


async def test_locked(store: SqliteStore, path: Path) -> None:
    await assert_away_then_back(store, await group(store), locked(path))


async def test_locked_for_longer_than_the_bound_fails_all_who_wait_together(path: Path) -> None:
    """Not one batch after the other, each after a wait of its own."""
    watching = Watching()
    store = SqliteStore(str(path), busy_timeout_s=BUSY_S, observer=watching)
    await store.open()
    conversation_id = await group(store)
    with locked(path):
        results = await asyncio.gather(
            *(store.append_message(message_draft(conversation_id)) for _ in range(5000)), return_exceptions=True
        )
    assert {type(result) for result in results} == {StoreUnavailable}
    assert watching.failures == 1
    assert await sequence(store, conversation_id) == []
    await store.close()


async def test_what_goes_wrong_is_told_to_the_observer(path: Path) -> None:
    """An outage is a failure; a call that cannot be done makes the others of its commit be done again."""
    watching = Watching()
    store = SqliteStore(str(path), busy_timeout_s=BUSY_S, observer=watching)
    await store.open()
    conversation_id = await group(store)
    with locked(path), pytest.raises(StoreUnavailable):
        await store.append_message(message_draft(conversation_id))
    assert (watching.failures, watching.retries) == (1, 0)
    before = watching.writes
    good, bad = message_draft(conversation_id), message_draft(conversation_id, "\udcff")
    results = await asyncio.gather(*map(store.append_message, (good, bad)), return_exceptions=True)
    assert isinstance(results[1], ValueError)
    assert (watching.failures, watching.retries) == (1, 1)
    assert watching.writes - before == 1
    await store.close()


async def test_locked_for_less_than_the_bound_is_waited_for(path: Path) -> None:
    store = SqliteStore(str(path), busy_timeout_s=30)
    await store.open()
    conversation_id = await group(store)
    with locked(path):
        call = asyncio.ensure_future(store.append_message(message_draft(conversation_id)))
        done, _ = await asyncio.wait([call], timeout=0.1)
        assert not done
    assert (await call).message.seq == 1
    await store.close()


async def test_reading_goes_on_while_another_process_holds_the_lock(store: SqliteStore, path: Path) -> None:
    conversation_id = await group(store)
    await store.append_message(message_draft(conversation_id))
    with locked(path):
        assert await sequence(store, conversation_id) == [1]
        assert (await store.list_conversations(ANN, limit=1, before=None)).summaries
        other = SqliteStore(str(path), busy_timeout_s=BUSY_S)  # and another server can start
        await other.open()
        assert await sequence(other, conversation_id) == [1]
        await other.close()


class FaultyFile(DatabaseFile):
    """A file whose writing connections are spoiled.

    Attributes:
        fault: a pragma that every writing connection begins with; one that is open is opened anew when it changes.
        longest_bytes: how long a text may be, as it is with SQLite's own limit of 1 GB.
        outcomes: what is raised in place of the next transactions; None lets one through.
    """

    fault: str | None = None
    longest_bytes: int | None = None
    outcomes: Sequence[Exception | None] = ()

    def writer(self, *, create: bool) -> SqliteConnection:
        sql = super().writer(create=create).sql
        if self.fault is not None:
            sql.execute(self.fault)
        if self.longest_bytes is not None:
            sql.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, self.longest_bytes)
        return FaultyConnection(sql, self)


class FaultyConnection(SqliteConnection):
    """A writing connection to a `FaultyFile`."""

    def __init__(self, sql: sqlite3.Connection, file: FaultyFile) -> None:
        status = os.stat(file.path)
        super().__init__(sql, file.path, (status.st_dev, status.st_ino), BUSY_S)
        self.file = file
        self.fault = file.fault

    def is_current(self) -> bool:
        return self.fault == self.file.fault and super().is_current()

    @contextlib.contextmanager
    def transaction(self, *, hurried: bool = False) -> Iterator[None]:
        outcome, *self.file.outcomes = self.file.outcomes or (None,)
        if outcome is not None:
            raise outcome
        with super().transaction(hurried=hurried):
            yield


@pytest.mark.parametrize("pragma", ["max_page_count = 1", "query_only = ON"], ids=["full", "read-only"])
async def test_full_or_read_only(path: Path, pragma: str) -> None:
    """`max_page_count` gives the error of a full disk once the pages are used up, `query_only` that of a read-only
    file."""
    file = FaultyFile(str(path), busy_s=BUSY_S)
    store = SqliteStore(file)
    await store.open()
    conversation_id = await group(store)

    @contextlib.contextmanager
    def fault() -> Iterator[None]:
        file.fault = f"PRAGMA {pragma}"
        yield
        file.fault = None

    if pragma == "query_only = ON":
        await assert_away_then_back(store, conversation_id, fault())
    else:
        with fault():
            sent = 0
            while True:  # the last page has room for a few
                draft = message_draft(conversation_id, "x" * 500)
                try:
                    await store.append_message(draft)
                except StoreUnavailable:
                    break
                sent += 1
            with pytest.raises(StoreUnavailable):
                await store.append_message(draft)
        assert (await store.append_message(draft)).message.seq == sent + 1
        assert await sequence(store, conversation_id) == list(range(1, sent + 2))
    await store.close()


async def test_a_disk_that_refuses_writes(store: SqliteStore) -> None:
    """A limit on file sizes makes every write to the log fail, as a broken disk does."""

    @contextlib.contextmanager
    def no_writes() -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    await assert_away_then_back(store, await group(store), no_writes())


@pytest.mark.parametrize("what", ["file", "directory"])
async def test_a_database_that_is_moved_away_and_put_back(store: SqliteStore, path: Path, what: str) -> None:
    """Writing on to a deleted file would acknowledge what nobody will ever read."""
    moved = path if what == "file" else path.parent

    @contextlib.contextmanager
    def away() -> Iterator[None]:
        aside = moved.rename(moved.with_name("aside"))
        yield
        aside.rename(moved)

    await assert_away_then_back(store, await group(store), away())


async def test_a_deleted_database_is_not_replaced_by_an_empty_one(store: SqliteStore, path: Path) -> None:
    conversation_id = await group(store)
    shutil.rmtree(path.parent)
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await store.append_message(message_draft(conversation_id))
        with pytest.raises(StoreUnavailable):
            await store.get_conversation(conversation_id)
        path.parent.mkdir(exist_ok=True)
    assert list(path.parent.iterdir()) == []


async def test_a_database_replaced_by_a_backup_is_taken_up(store: SqliteStore, path: Path) -> None:
    kept = await group(store)
    with (
        contextlib.closing(sqlite3.connect(path)) as source,
        contextlib.closing(sqlite3.connect(path.with_name("backup"))) as backup,
    ):
        source.backup(backup)
    lost = await group(store)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    path.with_name("backup").rename(path)
    assert await store.get_conversation(kept) is not None
    assert await store.get_conversation(lost) is None
    assert (await store.append_message(message_draft(kept))).message.seq == 1


async def test_a_file_that_turns_to_garbage(store: SqliteStore, path: Path) -> None:
    conversation_id = await group(store)
    await store.append_message(message_draft(conversation_id))
    good = path.parent.rename(path.parent.with_name("good"))
    path.parent.mkdir()
    path.write_bytes(b"this is not a database" * 1000)
    with pytest.raises(StoreUnavailable):
        await store.append_message(message_draft(conversation_id))
    with pytest.raises(StoreUnavailable):
        await store.get_conversation(conversation_id)
    shutil.rmtree(path.parent)
    good.rename(path.parent)
    assert (await store.append_message(message_draft(conversation_id))).message.seq == 2


# -- open


async def _assert_cannot_open(path: Path, why: str) -> None:
    store = SqliteStore(str(path), busy_timeout_s=BUSY_S)
    with pytest.raises(StoreUnavailable, match=why):
        await store.open()
    with pytest.raises(StoreUnavailable):
        await store.check()
    await store.close()


async def test_a_file_that_is_not_a_database(path: Path) -> None:
    path.write_bytes(b"this is not a database" * 1000)
    before = path.read_bytes()
    await _assert_cannot_open(path, "file is not a database")
    assert path.read_bytes() == before


@pytest.mark.parametrize("statement", ["CREATE TABLE theirs (a)", "PRAGMA user_version = 1", "PRAGMA user_version = 9"])
async def test_another_applications_database_is_left_alone(path: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute(statement)
    await _assert_cannot_open(path, "another application")
    with contextlib.closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT count(*) FROM sqlite_master WHERE name = 'message'").fetchone() == (0,)


async def test_a_newer_schema_is_left_alone(store: SqliteStore, path: Path) -> None:
    await store.close()
    known = len(MIGRATIONS)
    with contextlib.closing(sqlite3.connect(path)) as newer:
        newer.execute(f"PRAGMA user_version = {known + 1}")
    await _assert_cannot_open(path, rf"schema version {known + 1}; this server knows {known}\. .* newer version")


async def test_a_missing_directory_or_a_directory_in_place_of_the_file(path: Path) -> None:
    await _assert_cannot_open(path.parent, "unable to open")
    await _assert_cannot_open(path.parent / "missing" / "chat.db", "unable to open")


async def test_a_new_database_that_is_locked_can_be_opened_later(path: Path) -> None:
    store = SqliteStore(str(path), busy_timeout_s=BUSY_S)
    with locked(path), pytest.raises(StoreUnavailable, match="locked"):
        await store.open()
    await store.open()
    await store.check()
    await store.close()


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="file permissions of POSIX")
async def test_a_file_without_write_permission() -> None:
    """Outside pytest's own directory, which only its owner may enter, because root has to become somebody else."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "chat.db"
        store = SqliteStore(str(path))
        await store.open()
        await store.close()
        path.chmod(0o444)
        Path(directory).chmod(0o555)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)
        try:
            await _assert_cannot_open(path, "readonly|read-only|unable to open")
        finally:
            if root:
                os.seteuid(0)
            Path(directory).chmod(0o755)


async def test_several_stores_that_start_at_once_make_one_schema(path: Path) -> None:
    stores = [SqliteStore(str(path), busy_timeout_s=10) for _ in range(8)]
    await asyncio.gather(*(store.open() for store in stores))
    conversation_id = await group(stores[0])
    assert all([await store.get_conversation(conversation_id) for store in stores])
    for store in stores:
        await store.close()
    with contextlib.closing(sqlite3.connect(path)) as plain:
        assert plain.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert plain.execute("PRAGMA integrity_check").fetchone() == ("ok",)


# -- load, and mistakes


async def test_the_log_does_not_grow_for_ever_under_load(path: Path) -> None:
    """With SQLite's own checkpoints out of the way; each commit of one message is some 20 kB of log."""
    file = DatabaseFile(str(path), busy_s=10, checkpoint_pages=1_000_000)
    store = SqliteStore(file, writes_per_checkpoint=100)
    await store.open()
    ids = [await group(store) for _ in range(4)]

    async def write(conversation_id: ConversationId) -> None:
        for _ in range(500):
            await store.append_message(message_draft(conversation_id))

    await asyncio.gather(*(write(conversation_id) for conversation_id in ids))
    # Without checkpoints it would be about 30 MB.
    assert path.with_name(path.name + "-wal").stat().st_size < 4_000_000
    await store.close()
    with contextlib.closing(sqlite3.connect(path)) as plain:
        assert plain.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert plain.execute("SELECT count(*) FROM message").fetchone() == (2000,)


async def test_a_checkpoint_that_fails_is_nobodys_error(path: Path) -> None:
    store = SqliteStore(str(path), writes_per_checkpoint=1)
    await store.open()
    conversation_id = await group(store)
    aside = path.rename(path.with_name("aside"))
    with pytest.raises(StoreUnavailable):
        await store.append_message(message_draft(conversation_id))
    aside.rename(path)
    assert (await store.append_message(message_draft(conversation_id))).message.seq == 1
    await store.close()


async def test_more_writes_than_may_wait_are_refused_with_when_to_come_back(path: Path) -> None:
    store = SqliteStore(str(path), max_queued_writes=50)
    await store.open()
    conversation_id = await group(store)
    drafts = [message_draft(conversation_id, str(number)) for number in range(80)]
    results = await asyncio.gather(*(store.append_message(draft) for draft in drafts), return_exceptions=True)
    refused = [result for result in results if isinstance(result, Overloaded)]
    assert len(refused) == 30
    assert all(isinstance(result, Overloaded) for result in results[50:])
    assert all(error.retry_after_ms is not None and error.retry_after_ms >= 100 for error in refused)
    assert await sequence(store, conversation_id) == list(range(1, 51))  # nothing of the refused was queued
    await store.check()
    again = await asyncio.gather(*(store.append_message(draft) for draft in drafts[30:]))
    assert sum(result.duplicate for result in again) == 20
    assert await sequence(store, conversation_id) == list(range(1, 81))
    await store.close()


async def test_a_message_larger_than_sqlite_holds_is_refused_and_disturbs_nobody(path: Path) -> None:
    file = FaultyFile(str(path), busy_s=BUSY_S)
    file.longest_bytes = 100_000
    store = SqliteStore(file)
    await store.open()
    conversation_id = await group(store)
    results = await asyncio.gather(
        store.append_message(message_draft(conversation_id)),
        store.append_message(message_draft(conversation_id, "x" * 200_000)),
        store.append_message(message_draft(conversation_id)),
        return_exceptions=True,
    )
    assert isinstance(results[1], LimitExceeded)
    assert await sequence(store, conversation_id) == [1, 2]
    await store.close()


class Incomparable(str):
    """A text that cannot be compared with another one: the bug."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        raise KeyError("a bug")


async def test_a_bug_in_one_call_is_logged_and_disturbs_nobody(
    store: SqliteStore, caplog: pytest.LogCaptureFixture
) -> None:
    conversation_id = await group(store)
    await store.append_message(message_draft(conversation_id, "bug", key="k"))
    results = await asyncio.gather(
        store.append_message(message_draft(conversation_id)),
        store.append_message(message_draft(conversation_id, Incomparable("bug"), key="k")),
        store.append_message(message_draft(conversation_id)),
        return_exceptions=True,
    )
    assert isinstance(results[1], InternalError)
    assert await sequence(store, conversation_id) == [1, 2, 3]
    assert "KeyError: 'a bug'" in caplog.text


async def test_an_outage_in_the_middle_of_single_tries_fails_the_rest(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And the next look finds the database away; it did not."""
    caplog.set_level(logging.INFO)
    file = FaultyFile(str(path), busy_s=BUSY_S)
    store = SqliteStore(file)
    await store.open()
    conversation_id = await group(store)
    file.outcomes = [KeyError("all of them together"), None, sqlite3.OperationalError("disk I/O error")]
    results = await asyncio.gather(
        *(store.append_message(message_draft(conversation_id)) for _ in range(4)), return_exceptions=True
    )
    assert [type(result).__name__ for result in results] == ["Appended"] + ["StoreUnavailable"] * 3
    assert "cannot be used: disk I/O error" in caplog.text
    assert "can be written again" not in caplog.text
    assert await sequence(store, conversation_id) == [1]
    await store.append_message(message_draft(conversation_id))
    assert "can be written again" in caplog.text
    await store.close()


def test_the_files_settings_are_those_of_the_promise(path: Path) -> None:
    """FULL is what makes a commit survive a power cut in WAL mode."""
    connection = DatabaseFile(str(path), busy_s=BUSY_S).writer(create=True)

    def pragma(name: str) -> object:
        return connection.sql.execute(f"PRAGMA {name}").fetchone()[0]

    assert pragma("journal_mode") == "wal"
    assert pragma("synchronous") == 2
    assert pragma("foreign_keys") == 1
    connection.close()
