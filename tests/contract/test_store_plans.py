"""Every query of every store goes through an index: recorded while a store does everything, then explained."""

from __future__ import annotations

import json
import os
import sqlite3
from dataclasses import replace
from pathlib import Path
from socketserver.chat.changes import Delete, Edit, React
from socketserver.chat.domain import UserId, new_id
from socketserver.chat.identity import ProfileUpdate
from socketserver.chat.own_settings import SettingsUpdate
from socketserver.store import Copyable
from socketserver.store.mongo.database import MongoDatabase
from socketserver.store.mongo.mongo_store import MongoStore
from socketserver.store.sqlite.database import DatabaseFile, SqliteConnection
from socketserver.store.sqlite.sqlite_store import SqliteStore
from typing import Any

from pymongo import MongoClient, monitoring
from support.mongo import with_database
from support.stores import (
    ANN,
    BOB,
    CAT,
    NOW_MS,
    adding,
    conversation_draft,
    giving,
    group,
    message_draft,
    removing,
    say,
    updating,
)


async def do_everything(store: Copyable) -> None:
    """Each method, in each of its ways."""
    here, there = await group(store), await group(store)
    await store.create_conversation(conversation_draft(BOB))
    await store.create_conversation(conversation_draft(BOB))
    await say(store, here, 70)  # enough for read marks to be folded
    await say(store, there, 3, by=BOB)
    for _ in range(2):
        await store.append_message(message_draft(there, key="k"))
    await store.change_message(Edit(here, 2, ANN, "e", "other", NOW_MS))
    for conversation_id in (here, there):
        await store.change_message(React(conversation_id, 1, BOB, "+", on=True))
        await store.change_message(Delete(conversation_id, 3, BOB, NOW_MS, others=True))
    await store.change_conversation(adding(there, UserId("dan"), UserId("eve"), key="k", history="none"))
    await store.change_conversation(giving(there, UserId("dan"), "admin"))
    await store.change_conversation(removing(there, UserId("eve"), key="r"))
    await store.change_conversation(updating(there, title="x", metadata={}))
    await store.get_messages(here, [1, 3, 99])
    await store.get_last_message(here)
    await store.newest_changes([here, there])
    await store.get_conversation(here)
    for conversation_id in (here, there):
        for after in (None, 0, 1, 3):
            await store.get_snapshot(conversation_id, after=after, limit=2, reader=BOB)
            await store.list_changes(conversation_id, after=after or 2, limit=2)
        await store.advance_read(conversation_id, CAT, 2, NOW_MS)
    mentioning = replace(message_draft(here), mentions=(BOB, CAT))
    await store.append_message(mentioning)
    await store.change_message(Edit(here, 71, ANN, "m", "other", NOW_MS, None, (CAT,)))
    for user_id in (BOB, CAT):
        await store.set_settings(here, user_id, SettingsUpdate(muted=True, marked_unread=True))
    await store.advance_read(here, CAT, 2, NOW_MS)
    await store.list_settings(here)
    await store.list_conversations(BOB, limit=2, before=None)
    await store.list_conversations(ANN, limit=2, before=None)
    await store.list_conversations(ANN, limit=2, before=(NOW_MS, here), participants=2)
    await store.get_snapshot(here, after=None, limit=2, reader=CAT, participants=1)
    for after_user in (None, BOB):
        await store.list_read_marks(here, after=after_user, limit=1)
    await store.list_readers([(conversation_id, BOB), (conversation_id, ANN)])
    for user_id in (ANN, BOB, ANN):
        await store.set_profile(ProfileUpdate(user_id, "A name"))
    await store.set_profile(ProfileUpdate(CAT))
    await store.get_profiles([ANN, BOB, CAT])
    for edges in ({}, {"before_seq": 2}, {"after_seq": 1}):
        await store.list_messages(here, limit=2, **edges)


async def test_sqlite_looks_into_indexes(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    statements: set[str] = set()

    class Watched(DatabaseFile):
        def reader(self) -> SqliteConnection:
            return self._watch(super().reader())

        def writer(self, *, create: bool) -> SqliteConnection:
            return self._watch(super().writer(create=create))

        def _watch(self, connection: SqliteConnection) -> SqliteConnection:
            connection.sql.set_trace_callback(statements.add)
            return connection

    store = SqliteStore(Watched(str(path), busy_s=1))
    await store.open()
    await do_everything(store)
    await store.close()
    explained = 0
    with sqlite3.connect(path) as sql:
        for statement in statements:
            if not statement.startswith(("SELECT", "INSERT", "UPDATE")) or "sqlite_master" in statement:
                continue
            plan = [row[3] for row in sql.execute(f"EXPLAIN QUERY PLAN {statement}")]
            # A list of VALUES is walked through, and what another step has found; nothing else is.
            walked = [step for step in plan if step.startswith("SCAN") and "CONSTANT ROW" not in step]
            assert not [step for step in walked if step != "SCAN v" and not step.startswith("SCAN (subquery-")], (
                statement,
                plan,
            )
            explained += 1
    sql.close()
    assert explained > 20


class Recorder(monitoring.CommandListener):
    """Keeps what a client sends, one of each shape."""

    def __init__(self) -> None:
        self.commands: dict[str, dict[str, Any]] = {}

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.command_name in ("find", "aggregate", "update"):
            command = {
                name: value
                for name, value in event.command.items()
                if name not in ("lsid", "txnNumber", "readConcern", "writeConcern", "maxTimeMS", "ordered")
                and not name.startswith("$")
            }
            self.commands[_shape(command)] = command

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass


def _shape(command: object) -> str:
    if isinstance(command, dict):
        return str({name: _shape(value) for name, value in command.items()})
    return str([_shape(each) for each in command]) if isinstance(command, list) else type(command).__name__


async def test_mongodb_looks_into_indexes(mongo_url: str) -> None:
    recorder = Recorder()
    name = f"test_{new_id()}"
    store = MongoStore(MongoDatabase(with_database(mongo_url, name), event_listeners=[recorder]))
    await store.open()
    await do_everything(store)
    await store.close()
    explained = 0
    with MongoClient[dict[str, Any]](mongo_url) as client:
        for command in recorder.commands.values():
            for each in _explainable(command):
                plan = json.dumps(client[name].command("explain", each), default=str)
                assert "COLLSCAN" not in plan, each
                assert "IXSCAN" in plan or "IDHACK" in plan or "EXPRESS" in plan, each
                explained += 1
        client.drop_database(name)
    assert explained > 10


def _explainable(command: dict[str, Any]) -> list[dict[str, Any]]:
    """The command as the server's `explain` takes it, and what it hides: the query inside each $lookup.

    SecantusDB 0.7 plans neither $or nor a filter with a field beyond those of an index. MongoDB plans the branches of
    an $or one by one, and filters by `sender` what it finds by (conversation, seq): that is what is explained there.
    """
    if "update" in command:
        updates = command["updates"]
        return [{"find": command["update"], "filter": {"_id": update["q"]["_id"]}} for update in updates]
    if "find" in command and not os.environ.get("WEBSOCKET_TEST_MONGO_URL"):
        branches = [dict(branch) for branch in command["filter"].get("$or", [command["filter"]])]
        for branch in branches:
            if "seq" in branch:
                branch.pop("sender", None)
                branch.pop("moved", None)
            if isinstance(branch.get("uncounted"), dict):
                branch.pop("uncounted")
        return [{**command, "filter": branch} for branch in branches]
    lookups = [stage["$lookup"] for stage in command.get("pipeline", ()) if "$lookup" in stage]
    return [command, *map(_inside, lookups)]


def _inside(lookup: dict[str, Any]) -> dict[str, Any]:
    stages = {name: value for stage in lookup["pipeline"] for name, value in stage.items()}
    which = {lookup["foreignField"]: "x", **stages.get("$match", {})}
    if not os.environ.get("WEBSOCKET_TEST_MONGO_URL"):
        which.pop("uncounted", None)
    return {"find": lookup["from"], "filter": which, "sort": stages["$sort"], "limit": stages["$limit"]}
