"""One SQLite database file: how it is opened and migrated, and which of SQLite's errors mean that it is away.

Knows nothing of asyncio and of what is read or written; a `SqliteConnection` belongs to one thread at a time.
"""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ...errors import StoreUnavailable
from .schema import APPLICATION_ID, MIGRATIONS

MEMORY: Final = ":memory:"

# UPDATE … FROM came with 3.33, the limit of 32 766 parameters per statement with 3.32.
OLDEST_SQLITE: Final = (3, 33, 0)

# Share of the busy time for which a writer waits that was refused the lock the last time: whoever holds it may hold it
# for long, and each client's messages are handled one after the other, so that their waits add up.
HURRIED_SHARE: Final = 0.05
_CACHE_KB: Final = 32_768  # of each connection
# 64 MB of log, at 4096 bytes a page: a last resort, for the store asks for a `checkpoint` long before.
CHECKPOINT_PAGES: Final = 16_384
LOG_LIMIT_BYTES: Final = CHECKPOINT_PAGES * 4096


def is_outage(error: BaseException) -> bool:
    """Whether an error says that the database is away (locked, full, read-only, gone, broken), not a call wrong.

    sqlite3 raises OperationalError for these, and a bare DatabaseError for a corrupt file; the subclasses of
    DatabaseError (IntegrityError, DataError, …) are about the values of one call.
    """
    return (
        isinstance(error, StoreUnavailable | sqlite3.OperationalError | OSError) or type(error) is sqlite3.DatabaseError
    )


def is_locked(error: BaseException) -> bool:
    """Whether somebody else holds a lock that was waited for."""
    code = getattr(error, "sqlite_errorcode", 0)
    return (code & 0xFF) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


class DatabaseFile:
    """Opens connections to one file and says whether they still lead to it.

    Args:
        path: the file, or ':memory:'.
        busy_s: how long a connection waits for another process's lock.
        checkpoint_pages: how long the log may get before SQLite copies it by itself, whoever writes waiting for it; the
            store copies it earlier, beside the writer.

    Attributes:
        path: absolute, or ':memory:'.
    """

    def __init__(self, path: str, *, busy_s: float, checkpoint_pages: int = CHECKPOINT_PAGES) -> None:
        self.in_memory = path == MEMORY
        self.path = path if self.in_memory else str(Path(path).absolute())
        self._busy_s = busy_s
        self._checkpoint_pages = checkpoint_pages

    def writer(self, *, create: bool) -> SqliteConnection:
        """A connection that writes, with the schema brought up to date.

        Without `create` it never makes a file: a database that has vanished under a running server is an outage until
        it is put back, not an empty chat.
        Raises: StoreUnavailable, with a sentence for the operator.
        """
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            oldest = ".".join(map(str, OLDEST_SQLITE))
            raise StoreUnavailable(f"SQLite {sqlite3.sqlite_version} is too old; {oldest} or newer is needed.")
        try:
            # Others may start at the same moment: every statement up to here waits for their locks, reading ones too.
            connection = self._open("rwc" if create else "rw")
            try:
                self._migrate(connection)
                connection.sql.execute("PRAGMA busy_timeout = 0")  # from now on `patiently` waits
            except BaseException:
                connection.close()
                raise
        except (sqlite3.Error, OSError) as error:
            raise StoreUnavailable(f"The SQLite database {self.path} cannot be used: {error}.") from error
        return connection

    def reader(self) -> SqliteConnection:
        """A connection that only reads, to a file that a writer has made or found."""
        connection = self._open("rw")  # not "ro": reading a write-ahead log writes its index
        connection.sql.execute("PRAGMA query_only = ON")
        return connection

    def _open(self, mode: str) -> SqliteConnection:
        if self.in_memory:
            sql = sqlite3.connect(MEMORY, isolation_level=None, check_same_thread=False)
            return SqliteConnection(sql, None, None, self._busy_s)
        if mode == "rwc":
            _make(self.path)
        sql = sqlite3.connect(
            f"{Path(self.path).as_uri()}?mode={mode}",
            uri=True,
            timeout=self._busy_s,
            isolation_level=None,  # transactions are begun and ended here, not by the driver's guesses
            check_same_thread=False,
            cached_statements=256,
        )
        try:
            connection = SqliteConnection(sql, self.path, _identity(self.path), self._busy_s)
            connection.patiently("PRAGMA journal_mode = WAL")
            sql.execute("PRAGMA synchronous = FULL")
            sql.execute("PRAGMA fullfsync = ON")  # macOS: fsync alone does not reach the disk's platter
            sql.execute("PRAGMA foreign_keys = ON")
            # A batch touches a few pages of every conversation in it. With SQLite's defaults (2 MB, 1000 pages) they
            # are read again for each batch and copied into the database every few: 55 µs of CPU per message, not 38.
            sql.execute(f"PRAGMA cache_size = -{_CACHE_KB}")
            sql.execute(f"PRAGMA wal_autocheckpoint = {self._checkpoint_pages}")
            # Without it the log's file stays as large as a reader that did not end has made it.
            sql.execute(f"PRAGMA journal_size_limit = {LOG_LIMIT_BYTES}")
        except BaseException:
            sql.close()
            raise
        return connection

    def _migrate(self, connection: SqliteConnection) -> None:
        sql = connection.sql
        mode = _pragma(sql, "journal_mode")
        if not self.in_memory and mode != "wal":
            raise StoreUnavailable(f"The SQLite database {self.path} cannot use a write-ahead log (mode {mode!r}).")
        if self._version(sql) == len(MIGRATIONS):
            return  # without a lock: a server can start while another process writes
        with connection.transaction():
            # Looked at again under the lock: of several processes that start at once, one migrates.
            for script in MIGRATIONS[self._version(sql) :]:
                for statement in script.split(";"):  # executescript would end the transaction
                    sql.execute(statement)
            sql.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            sql.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")

    def _version(self, sql: sqlite3.Connection) -> int:
        """The file's schema version, 0 for an empty file. Raises StoreUnavailable for what is not ours."""
        version = int(_pragma(sql, "user_version"))
        empty = sql.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None
        if not (version == 0 and empty) and _pragma(sql, "application_id") != APPLICATION_ID:
            raise StoreUnavailable(f"The SQLite database {self.path} belongs to another application.")
        if version > len(MIGRATIONS):
            raise StoreUnavailable(
                f"The SQLite database {self.path} has schema version {version}; this server knows {len(MIGRATIONS)}. "
                "It was written by a newer version: start that one, or restore a backup."
            )
        return version


class SqliteConnection:
    """A connection and the file that it was opened on.

    Attributes:
        sql: the driver's connection, in autocommit mode outside `transaction()`.
        in_memory: there is no file; the data ends with the connection.
    """

    def __init__(
        self, sql: sqlite3.Connection, path: str | None, identity: tuple[int, int] | None, busy_s: float
    ) -> None:
        self.sql = sql
        self.in_memory = path is None
        self._path = path
        self._identity = identity
        self._busy_s = busy_s

    def is_current(self) -> bool:
        """Whether the path still leads to the file that is open.

        Linux lets a process write to a file that has been deleted or replaced: such writes would be acknowledged and
        lost. Costs one stat, about a microsecond.
        """
        if self._path is None:
            return True
        try:
            return _identity(self._path) == self._identity
        except OSError:
            return False

    def patiently(self, statement: str, *, hurried: bool = False) -> None:
        """Execute a statement that needs a lock, for at most the busy time, or a moment of it.

        SQLite's own waiting backs off to 100 ms between tries and can starve beside a busy process: it looks too
        seldom into the short pauses between the other's transactions.
        """
        deadline = time.monotonic() + self._busy_s * (HURRIED_SHARE if hurried else 1)
        while True:
            try:
                self.sql.execute(statement)
                return
            except sqlite3.OperationalError as error:
                if not is_locked(error) or time.monotonic() > deadline:
                    raise
            time.sleep(random.uniform(0.0005, 0.005))  # noqa: S311 - jitter

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """A reading transaction: every statement of the block sees the same moment."""
        self.sql.execute("BEGIN")
        try:
            yield
        finally:
            self.roll_back()

    @contextlib.contextmanager
    def transaction(self, *, hurried: bool = False) -> Iterator[None]:
        """A writing transaction: committed at the end, rolled back if the block raises.

        Args:
            hurried: wait only a moment for another process's lock.
        """
        # Immediate: the write lock is taken before anything is read, so what is read stays true until the commit.
        self.patiently("BEGIN IMMEDIATE", hurried=hurried)
        try:
            yield
            self.sql.execute("COMMIT")
        except BaseException:
            self.roll_back()
            raise

    def roll_back(self) -> None:
        """End a transaction, if there is one; SQLite ends it by itself after some errors."""
        with contextlib.suppress(sqlite3.Error):
            if self.sql.in_transaction:
                self.sql.execute("ROLLBACK")

    def checkpoint(self, *, cut: bool = False) -> int:
        """Copy what the log holds into the database file, as far as nobody is in the way; nobody waits for it.

        Args:
            cut: then make the log's file empty, if nobody reads from it. Holds the write lock meanwhile.
        Returns: how many pages could not be copied, or are still read; 0 when the log can start anew.
        """
        busy, pages, copied = self.sql.execute(f"PRAGMA wal_checkpoint({'TRUNCATE' if cut else 'PASSIVE'})").fetchone()
        return max(int(pages) - int(copied), int(busy))

    def touch(self) -> None:
        """Write something without changing anything."""
        self.sql.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")

    def close(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self.sql.close()


def _make(path: str) -> None:
    """Make an empty file that only its owner may read, if there is none: SQLite gives its log and index the same mode.

    An existing file keeps the mode that somebody gave it.
    """
    with contextlib.suppress(OSError):  # SQLite says what is in the way
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _identity(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _pragma(sql: sqlite3.Connection, name: str) -> int | str:
    value: int | str = sql.execute(f"PRAGMA {name}").fetchone()[0]
    return value
