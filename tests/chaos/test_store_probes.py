"""Probes and readers beside an outage: whatever waits, waits once, and nobody waits behind them."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path
from socketserver.chat.domain import new_id
from socketserver.errors import StoreUnavailable
from socketserver.store.mongo.mongo_store import MongoStore
from socketserver.store.sqlite.database import DatabaseFile, SqliteConnection
from socketserver.store.sqlite.sqlite_store import SqliteStore
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.uri_parser import parse_uri
from support.mongo import with_database
from support.stores import ANN, BOB, Watching, conversation_draft, group, message_draft
from support.tcp_proxy import Proxy, proxy_to

BUSY_S = 0.2
MOST_AT_ONCE = 8  # questions that MongoDB is asked at a time


async def test_probes_do_not_stand_before_a_write(tmp_path: Path) -> None:
    """Each of 5 probes waited for the lock before the message behind them was tried: refused after 11.5 s, not 2."""
    path = tmp_path / "chat.db"
    watching = Watching()
    store = SqliteStore(str(path), busy_timeout_s=BUSY_S, observer=watching)
    await store.open()
    conversation_id = await group(store)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        probes = [asyncio.ensure_future(store.check()) for _ in range(100)]
        await asyncio.sleep(0)
        message = asyncio.ensure_future(store.append_message(message_draft(conversation_id)))
        results = await asyncio.gather(*probes, message, return_exceptions=True)
    assert {type(result) for result in results} == {StoreUnavailable}
    assert watching.failures == 2, "one check for all probes, and one commit"
    await store.check()
    assert (await store.append_message(message_draft(conversation_id))).message.seq == 1
    await store.close()


async def test_a_lock_that_lasts_is_waited_for_once(tmp_path: Path) -> None:
    """Each further message of a client waited the whole time again, one after the other: the tenth was refused after
    twenty seconds."""
    path = tmp_path / "chat.db"
    waits: list[bool] = []

    class Counted(DatabaseFile):
        def writer(self, *, create: bool) -> SqliteConnection:
            connection = super().writer(create=create)
            patiently = connection.patiently

            def counted(statement: str, *, hurried: bool = False) -> None:
                if statement == "BEGIN IMMEDIATE":
                    waits.append(hurried)
                patiently(statement, hurried=hurried)

            connection.patiently = counted  # type: ignore[method-assign]
            return connection

    store = SqliteStore(Counted(str(path), busy_s=BUSY_S))
    await store.open()
    conversation_id = await group(store)
    waits.clear()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for _ in range(4):
            with pytest.raises(StoreUnavailable):
                await store.append_message(message_draft(conversation_id))
    assert waits == [False, True, True, True]
    assert (await store.append_message(message_draft(conversation_id))).message.seq == 1
    assert (await store.append_message(message_draft(conversation_id))).message.seq == 2
    assert waits[4:] == [True, False], "patient again after the first that worked"
    await store.close()


async def test_a_prober_that_hangs_up_does_not_take_the_answer_from_the_others(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    store = SqliteStore(str(path), busy_timeout_s=BUSY_S)
    await store.open()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        first, second = (asyncio.ensure_future(store.check()) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(StoreUnavailable):
            await second
    await store.close()


class LockedForReaders(DatabaseFile):
    """A file whose reading connections wait for a lock that never comes; `tries` counts them."""

    tries = 0

    def reader(self) -> SqliteConnection:
        self.tries += 1
        time.sleep(BUSY_S)
        raise sqlite3.OperationalError("database is locked")


async def test_readers_that_wait_for_a_lock_fail_together(tmp_path: Path) -> None:
    """Each read waited for the lock by itself, two at a time: the hundredth was refused after fifty timeouts."""
    path = str(tmp_path / "chat.db")
    file = LockedForReaders(path, busy_s=BUSY_S)
    store = SqliteStore(file)
    await store.open()
    reads = (store.list_conversations(ANN, limit=1, before=None) for _ in range(100))
    results = await asyncio.gather(*reads, return_exceptions=True)
    assert {type(result) for result in results} == {StoreUnavailable}
    assert file.tries <= 3, "once for each thread that reads, and once more where one was quicker than the other"
    await store.close()


class BrokenInOnePlace(DatabaseFile):
    """A file whose reading connections meet a broken page where a list of conversations looks."""

    def reader(self) -> SqliteConnection:
        connection = super().reader()
        connection.sql.set_authorizer(self._authorize)
        return connection

    def _authorize(self, action: int, table: str | None, column: str | None, *_: str | None) -> int:
        # What SQLite says then is a bare DatabaseError, as of a malformed page.
        broken = action == sqlite3.SQLITE_READ and (table, column) == ("participant", "user_id")
        return sqlite3.SQLITE_DENY if broken else sqlite3.SQLITE_OK


async def test_a_file_that_is_broken_in_one_place_fails_only_who_reads_there(tmp_path: Path) -> None:
    """An error without a wait concerns its own call: the others may read another part of the file."""
    store = SqliteStore(BrokenInOnePlace(str(tmp_path / "chat.db"), busy_s=BUSY_S))
    await store.open()
    kept = await group(store)
    await store.append_message(message_draft(kept))
    broken = [store.list_conversations(ANN, limit=1, before=None) for _ in range(4)]
    reads = [store.list_messages(kept, limit=1) for _ in range(20)]
    results = await asyncio.gather(*broken, *reads, return_exceptions=True)
    assert {type(result) for result in results[:4]} == {StoreUnavailable}
    assert all(not isinstance(result, BaseException) for result in results[4:])
    await store.close()


@pytest.fixture
async def proxy(mongo_url: str) -> AsyncIterator[Proxy]:
    ((host, port), *_) = parse_uri(mongo_url)["nodelist"]
    async with proxy_to(host, port) as made:
        yield made


async def test_callers_of_a_database_that_hangs_fail_together(proxy: Proxy, mongo_url: str) -> None:
    """Motor has a few threads: a hundred reads and probes ran into a timeout of their own, in rows of ten."""
    name = f"test_{new_id()}"
    watching = Watching()
    options = "directConnection=true&timeoutMS=1000&serverSelectionTimeoutMS=800&connectTimeoutMS=800"
    store = MongoStore(f"mongodb://127.0.0.1:{proxy.port}/{name}?{options}", observer=watching)
    await store.open()
    conversation_id = await group(store)
    proxy.reply_delay_s = 60
    calls: list[Any] = [store.list_conversations(ANN, limit=1, before=None) for _ in range(100)]
    calls += [store.check() for _ in range(100)]
    calls += [store.create_conversation(conversation_draft(BOB, title=str(number))) for number in range(100)]
    calls += [store.append_message(message_draft(conversation_id))]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(result) for result in results} == {StoreUnavailable}
    assert watching.failures <= MOST_AT_ONCE + 1, "those that asked when it stopped answering, and one flight"
    proxy.heal()
    await store.close()
    with MongoClient[dict[str, Any]](with_database(mongo_url, name)) as client:
        client.drop_database(name)
