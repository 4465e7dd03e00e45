"""SQLite's write-ahead log beside a reader that does not end; and who may read the files."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from socketserver.store.sqlite.sqlite_store import SqliteStore

import pytest
from support.stores import NOW_MS, Watching, group, message_draft, sequence

LIMIT_BYTES = 500_000
LOOK_S = 0.05


async def until(condition: Callable[[], bool], what: str) -> None:
    end_s = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end_s, what
        await asyncio.sleep(0.01)


async def test_a_reader_that_stays_open_does_not_leave_a_huge_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It grew to 352 MB for 40 MB of data, and stayed so. Now it is said, measured, and cut when the reader ends, also
    if nobody writes any more; what was written meanwhile is there."""
    path = tmp_path / "chat.db"
    log = path.with_name("chat.db-wal")
    watching = Watching()
    store = SqliteStore(str(path), observer=watching, log_limit_bytes=LIMIT_BYTES, log_look_s=LOOK_S)
    await store.open()
    conversation_id = await group(store)
    body = "x" * 2000
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as viewer:
        viewer.execute("BEGIN")
        viewer.execute("SELECT count(*) FROM message").fetchone()
        for _ in range(150):
            await store.append_message(message_draft(conversation_id, body))
        assert log.stat().st_size > 2 * LIMIT_BYTES
        await until(lambda: "cannot start anew" in caplog.text, "it is said")
        await until(lambda: bool(watching.log_sizes) and watching.log_sizes[-1] == log.stat().st_size, "and measured")
        said = caplog.text.count("cannot start anew")
        looks = len(watching.log_sizes)
        await until(lambda: len(watching.log_sizes) > looks + 5, "it is looked at")
        assert caplog.text.count("cannot start anew") == said, "once, and not at every look"
        assert viewer.execute("SELECT count(*) FROM message").fetchone() == (0,)
    await until(lambda: log.stat().st_size == 0, "cut")
    await until(lambda: watching.log_sizes[-1] == 0, "and measured")
    assert await sequence(store, conversation_id) == list(range(1, 151))
    await store.append_message(message_draft(conversation_id))
    assert watching.failures == watching.retries == 0
    await store.close()
    with contextlib.closing(sqlite3.connect(path)) as plain:
        assert plain.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert plain.execute("SELECT count(*) FROM message").fetchone() == (151,)


async def test_a_log_of_ordinary_size_is_left_alone(tmp_path: Path) -> None:
    """Up to the limit it is written over, which costs less than a new file."""
    path = tmp_path / "chat.db"
    watching = Watching()
    store = SqliteStore(str(path), observer=watching, log_look_s=LOOK_S)
    await store.open()
    conversation_id = await group(store)
    for _ in range(20):
        await store.append_message(message_draft(conversation_id, at_ms=NOW_MS))
    size_bytes = path.with_name("chat.db-wal").stat().st_size
    looks = len(watching.log_sizes)
    await until(lambda: len(watching.log_sizes) > looks + 3, "it is looked at")
    assert path.with_name("chat.db-wal").stat().st_size == size_bytes > 0
    await store.close()


@pytest.mark.skipif(os.name != "posix", reason="file permissions of POSIX")
async def test_a_new_database_is_its_owners(tmp_path: Path) -> None:
    """It was readable by every user of the machine (0644), with every message in it."""
    path = tmp_path / "chat.db"
    before = os.umask(0)
    try:
        store = SqliteStore(str(path))
        await store.open()
        await group(store)
        modes = {each.name: each.stat().st_mode & 0o777 for each in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert modes == {"chat.db": 0o600, "chat.db-wal": 0o600, "chat.db-shm": 0o600}
    await store.close()


@pytest.mark.skipif(os.name != "posix", reason="file permissions of POSIX")
async def test_an_existing_database_keeps_its_mode(tmp_path: Path) -> None:
    """Somebody may have given a backup program's group the right to read."""
    path = tmp_path / "chat.db"
    path.touch()
    path.chmod(0o640)
    store = SqliteStore(str(path))
    await store.open()
    await group(store)
    modes = {each.stat().st_mode & 0o777 for each in tmp_path.iterdir()}
    assert modes == {0o640}
    await store.close()
