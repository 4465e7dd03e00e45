"""What can go wrong between a conversation's document and the message that says how it changed, in MongoDB."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from socketserver.chat.changes import Outcome
from socketserver.chat.domain import ConversationId, System, UserId, new_id
from socketserver.errors import ConversationNotFound, StoreUnavailable
from socketserver.store.copying import copy_store
from socketserver.store.mongo.database import MongoDatabase
from socketserver.store.mongo.documents import Document, Move
from socketserver.store.mongo.mongo_store import MongoStore
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import ConnectionFailure
from support.histories import present
from support.mongo import mongo_url, with_database
from support.stores import ANN, BOB, CAT, NOW_MS, adding, group, message_draft, removing, say, updating

__all__ = ["mongo_url"]

DAN, EVE = UserId("dan"), UserId("eve")


class Crashing(MongoDatabase):
    """A database whose connection ends at a moment.

    Attributes:
        before_message, before_drop: whether messages, and the end of what is pending, do not reach it.
        before_change: done before a conversation's document is changed.
    """

    before_message = before_drop = False
    before_change: Callable[[], Awaitable[object]] | None = None

    async def write_messages(self, writes: Sequence[Document | Move]) -> int:
        if self.before_message:
            raise ConnectionFailure("cut")
        return await super().write_messages(writes)

    async def drop_pending(self, conversation_id: ConversationId, message_id: str) -> None:
        if self.before_drop:
            raise ConnectionFailure("cut")
        await super().drop_pending(conversation_id, message_id)

    async def change_conversation(self, which: Document, stage: Document) -> bool:
        before, self.before_change = self.before_change, None
        if before is not None:
            await before()
        return await super().change_conversation(which, stage)

    async def ping(self) -> None:
        if self.before_message or self.before_drop:
            raise ConnectionFailure("cut")
        await super().ping()


@pytest.fixture
def url(mongo_url: str) -> Iterator[str]:
    name = f"test_{new_id()}"
    yield with_database(mongo_url, name)
    with MongoClient[dict[str, Any]](mongo_url) as client:
        client.drop_database(name)


@pytest.fixture
def database(url: str) -> Crashing:
    return Crashing(url)


@pytest.fixture
async def crashing(database: Crashing) -> AsyncIterator[MongoStore]:
    store = MongoStore(database)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def other(url: str) -> AsyncIterator[MongoStore]:
    """Another process on the same database."""
    store = MongoStore(url)
    await store.open()
    yield store
    await store.close()


def documents(url: str) -> list[dict[str, Any]]:
    with MongoClient[dict[str, Any]](url) as client:
        return list(client.get_default_database()["conversations"].find())


async def leave_half(store: MongoStore, database: Crashing) -> ConversationId:
    """A group to which dan was added, without the message that says so."""
    here = await group(store)
    await say(store, here, 2)
    database.before_message = True
    with pytest.raises(StoreUnavailable):
        await store.change_conversation(adding(here, DAN, key="k", history="none"))
    return here


READERS: list[Callable[[MongoStore, ConversationId], Awaitable[object]]] = [
    lambda store, here: store.get_conversation(here),
    lambda store, here: store.get_snapshot(here, after=None, limit=10, reader=DAN),
    lambda store, here: store.list_drafts(after=None, limit=10),
    lambda store, here: store.change_conversation(removing(here, EVE)),
    lambda store, here: store.change_conversation(adding(here, DAN, key="k", history="none")),
]


@pytest.mark.parametrize("read", READERS)
async def test_what_a_crash_left_is_finished_by_whoever_reads_the_conversation(
    url: str,
    database: Crashing,
    crashing: MongoStore,
    other: MongoStore,
    read: Callable[[MongoStore, ConversationId], Awaitable[object]],
) -> None:
    here = await leave_half(crashing, database)
    assert "pending" in documents(url)[0]
    await read(other, here)
    assert "pending" not in documents(url)[0]
    messages = await present(other, here)
    assert [each.system for each in messages] == [None, None, System("added", (DAN,))]
    assert (messages[2].change, messages[2].body, messages[2].created_at_ms) == (3, "ann added dan.", NOW_MS + 70)


async def test_the_snapshot_of_who_finishes_it_has_the_message(
    database: Crashing, crashing: MongoStore, other: MongoStore
) -> None:
    here = await leave_half(crashing, database)
    snapshot = await other.get_snapshot(here, after=2, limit=10, reader=DAN)
    assert snapshot
    assert ([each.seq for each in snapshot.messages], snapshot.change) == ([3], 3)
    assert snapshot.conversation.entry(DAN).first_seq == 3


async def test_many_who_read_it_at_once_finish_it_once(
    url: str, database: Crashing, crashing: MongoStore, other: MongoStore
) -> None:
    here = await leave_half(crashing, database)
    third = MongoStore(url)
    await third.open()
    await asyncio.gather(
        *(store.get_conversation(here) for store in (other, third) for _ in range(5)),
        *(store.append_message(message_draft(here)) for store in (other, third)),
    )
    await third.close()
    messages = await present(other, here)
    assert sum(each.system is not None for each in messages) == 1
    assert [each.change for each in messages] == [1, 2, 3, 4, 5]


async def test_the_same_call_again_is_the_same_change(
    database: Crashing, crashing: MongoStore, other: MongoStore
) -> None:
    here = await leave_half(crashing, database)
    again = await other.change_conversation(adding(here, DAN, key="k", history="none"))
    assert again.outcome is Outcome.DUPLICATE
    assert again.message
    assert again.message.seq == 3
    # And where the message was stored, but not noted.
    database.before_message = False
    await crashing.close()
    await crashing.open()
    database.before_drop = True
    named = await crashing.change_conversation(updating(here, title="x", key="t"))
    assert (named.outcome, named.conversation.title) == (Outcome.DONE, "x")
    again = await other.change_conversation(updating(here, title="x", key="t"))
    assert (again.outcome, again.message) == (Outcome.DUPLICATE, named.message)
    assert len(await present(other, here)) == 4


async def test_a_change_of_people_that_another_process_made_meanwhile_is_seen(
    database: Crashing, crashing: MongoStore, other: MongoStore
) -> None:
    """It is made between the look at the conversation and its change: who has just left adds nobody."""
    here = await group(crashing)
    database.before_change = lambda: other.change_conversation(removing(here, ANN, by=ANN))
    with pytest.raises(ConversationNotFound):
        await crashing.change_conversation(adding(here, DAN))
    conversation = await other.get_conversation(here)
    assert conversation
    assert conversation.participant_ids == (BOB, CAT)


async def test_a_read_mark_is_not_given_to_who_moved_to_its_place(url: str, other: MongoStore) -> None:
    """It was seen at the second place, and another process removed the first participant before it was stored."""

    class Late(MongoDatabase):
        before_marks: Callable[[], Awaitable[object]] | None = None

        async def raise_fields(self, changes: Sequence[tuple[Document, Document]]) -> int:
            before, self.before_marks = self.before_marks, None
            if before is not None:
                await before()
            return await super().raise_fields(changes)

    database = Late(url)
    store = MongoStore(database)
    await store.open()
    here = await group(store)
    await say(store, here, 5, by=CAT)
    database.before_marks = lambda: other.change_conversation(removing(here, ANN, by=ANN))
    advance = await store.advance_read(here, BOB, 4, NOW_MS)
    assert (advance.mark.read_seq, advance.advanced) == (4, True)
    page = await store.list_read_marks(here, after=None, limit=5)
    assert {mark.user_id: mark.read_seq for mark in page.marks} == {BOB: 4, CAT: 5}
    await store.close()


async def test_a_conversation_of_an_earlier_version_goes_on(url: str, other: MongoStore) -> None:
    """Its document has no roles: the creator of a group is its owner."""
    here = await group(other)
    with MongoClient[dict[str, Any]](url) as client:
        unset = {"roles": "", "added": "", "rev": "", "metadata": ""}
        client.get_default_database()["conversations"].update_one({"_id": here}, {"$unset": unset})
    before = await other.get_conversation(here)
    assert before
    assert (before.roles, before.rev) == ({ANN: "owner"}, 0)
    assert (await other.change_conversation(adding(here, DAN, by=BOB))).outcome is Outcome.FORBIDDEN
    added = await other.change_conversation(adding(here, DAN))
    assert (added.outcome, added.conversation.rev) == (Outcome.DONE, 1)
    left = await other.change_conversation(removing(here, ANN, by=ANN))
    assert left.conversation.roles == {BOB: "owner"}


async def test_a_copy_has_what_was_pending(
    url: str, database: Crashing, crashing: MongoStore, other: MongoStore, mongo_url: str
) -> None:
    here = await leave_half(crashing, database)
    name = f"test_{new_id()}"
    target = MongoStore(with_database(mongo_url, name))
    await target.open()
    counts = await copy_store(other, target, lambda _: None)
    assert counts.messages == 3
    assert await present(target, here) == await present(other, here)
    await target.close()
    with MongoClient[dict[str, Any]](mongo_url) as client:
        client.drop_database(name)
