"""The MongoDB store's start, its indexes, and what it refuses before it reaches the database."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from socketserver.chat.changes import React
from socketserver.chat.domain import Gap, ReadMark, new_id
from socketserver.errors import InternalError, LimitExceeded, Overloaded, StoreUnavailable
from socketserver.store.mongo.database import MongoDatabase, options_for
from socketserver.store.mongo.documents import INDEXES, Document, Move
from socketserver.store.mongo.mongo_store import MongoStore
from socketserver.store.results import Appended
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure
from support.mongo import mongo_url, with_database
from support.stores import ANN, BOB, CAT, NOW_MS, conversation_draft, group, message_draft, say, sequence
from support.waiting import eventually

__all__ = ["mongo_url"]  # pytest finds the fixture here


@pytest.fixture
def url(mongo_url: str) -> Iterator[str]:
    """A fresh database."""
    name = f"test_{new_id()}"
    yield with_database(mongo_url, name)
    with MongoClient[dict[str, Any]](mongo_url) as client:
        client.drop_database(name)


@pytest.fixture
def plain(url: str) -> Iterator[MongoClient[dict[str, Any]]]:
    """The driver's own view of it."""
    with MongoClient[dict[str, Any]](url) as client:
        yield client


async def test_starting_makes_the_indexes_and_starting_again_finds_them(
    url: str, plain: MongoClient[dict[str, Any]]
) -> None:
    for _ in range(2):
        store = MongoStore(url)
        await store.open()
        await store.close()
    database = plain.get_default_database()
    for index in INDEXES:
        found = {each["name"]: each for each in database[index.collection].list_indexes()}
        assert index.fits(found[index.name])


@pytest.mark.parametrize(
    ("collection", "keys", "options"),
    [
        ("messages", ["conversation", "seq"], {"name": "seq"}),
        ("messages", ["seq", "conversation"], {"name": "seq", "unique": True}),
        ("messages", ["conversation", "change"], {"name": "change", "unique": True, "sparse": True}),
        ("messages", ["conversation", "key"], {"name": "key", "unique": True}),
        ("conversations", ["dedupe"], {"name": "dedupe", "unique": True}),
    ],
)
async def test_an_index_that_is_not_what_it_must_be_stops_the_start(
    url: str, plain: MongoClient[dict[str, Any]], collection: str, keys: list[str], options: dict[str, Any]
) -> None:
    plain.get_default_database()[collection].create_index([(key, 1) for key in keys], **options)
    store = MongoStore(url)
    with pytest.raises(StoreUnavailable, match=rf"The index {options['name']} .*{collection} .* drop it"):
        await store.open()
    with pytest.raises(StoreUnavailable):
        await store.check()


async def test_rows_that_break_a_promise_stop_the_start(url: str, plain: MongoClient[dict[str, Any]]) -> None:
    rows = [{"conversation": "c", "seq": 1, "change": number, "sender": "s", "key": str(number)} for number in range(2)]
    plain.get_default_database()["messages"].insert_many(rows)
    with pytest.raises(StoreUnavailable, match=r"The index seq on conversation, seq .* cannot be made"):
        await MongoStore(url).open()


async def test_a_connection_string_that_shows_its_fault_only_when_it_is_used() -> None:
    with pytest.raises(StoreUnavailable, match=r"connection string cannot be used: .*port"):
        await MongoStore("mongodb+srv://cluster.example.invalid:27017/chat").open()


def test_the_urls_own_options_win() -> None:
    options = options_for("mongodb://h/d?TimeoutMs=7&appName=mine")
    assert "timeoutMS" not in options
    assert "appname" not in options
    assert options["serverSelectionTimeoutMS"] == 2000


async def test_a_message_larger_than_a_document_is_refused_and_disturbs_nobody(url: str) -> None:
    store = MongoStore(url)
    await store.open()
    conversation_id = await group(store)
    results = await asyncio.gather(
        store.append_message(message_draft(conversation_id)),
        store.append_message(message_draft(conversation_id, "x" * (16 * 1024 * 1024))),
        store.append_message(message_draft(conversation_id)),
        return_exceptions=True,
    )
    assert isinstance(results[1], LimitExceeded)
    assert await sequence(store, conversation_id) == [1, 2]
    await store.close()


async def test_more_writes_than_may_wait_are_refused_with_when_to_come_back(url: str) -> None:
    store = MongoStore(url, max_queued_writes=10)
    await store.open()
    conversation_id = await group(store)
    results = await asyncio.gather(
        *(store.append_message(message_draft(conversation_id)) for _ in range(15)), return_exceptions=True
    )
    refused = [result for result in results if isinstance(result, Overloaded)]
    assert len(refused) == 5
    assert refused[0].retry_after_ms
    assert await sequence(store, conversation_id) == list(range(1, 11))
    assert (await store.append_message(message_draft(conversation_id))).message.seq == 11
    await store.close()


class Spoiled(MongoDatabase):
    """A database to which things happen.

    Attributes:
        before_marks: done before read marks are stored.
        before_own: done before it is looked what people have written themselves.
        looks: how many looks for a conversation find nothing, because it is not committed yet.
        insert_error: raised for messages.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.before_marks: Callable[[], Awaitable[object]] | None = None
        self.before_own: Callable[[], Awaitable[object]] | None = None
        self.looks = 0
        self.insert_error: Exception | None = None

    async def raise_fields(self, changes: Sequence[tuple[Document, Document]]) -> int:
        if self.before_marks is not None:
            await self.before_marks()
        return await super().raise_fields(changes)

    async def find_messages(
        self, which: Document, fields: Document | None = None, *, sort: tuple[str, int] | None = None, limit: int = 0
    ) -> list[Document]:
        if self.before_own is not None and fields is not None and "sender" in fields:  # not a page: that has all fields
            await self.before_own()
        return await super().find_messages(which, fields, sort=sort, limit=limit)

    async def find_conversation(self, which: Document, fields: Document | None = None) -> Document | None:
        if self.looks:
            self.looks -= 1
            return None
        return await super().find_conversation(which, fields)

    async def write_messages(self, writes: Sequence[Document | Move]) -> int:
        if self.insert_error is not None:
            raise self.insert_error
        return await super().write_messages(writes)


async def folded(plain: MongoClient[dict[str, Any]], seq: int) -> dict[str, Any]:
    """The conversation, once its read marks are stored up to this seq."""
    conversations = plain.get_default_database()["conversations"]
    found = await eventually("the read marks are folded", lambda: conversations.find_one({"folded": seq}))
    assert found is not None
    return found


async def test_read_marks_are_the_same_before_and_after_they_are_folded(
    url: str, plain: MongoClient[dict[str, Any]]
) -> None:
    store = MongoStore(url)
    await store.open()
    conversation_id = await group(store)
    await say(store, conversation_id, 40, by=BOB)
    await say(store, conversation_id, 23)
    await store.advance_read(conversation_id, CAT, 50, NOW_MS)
    before = await store.get_snapshot(conversation_id, after=None, limit=3)
    assert before is not None
    marks = (ReadMark(ANN, 63, NOW_MS + 23), ReadMark(BOB, 40, NOW_MS + 40), ReadMark(CAT, 50, NOW_MS))
    assert before.read_marks == marks
    await say(store, conversation_id, 1, by=BOB)
    stored = await folded(plain, 64)
    assert [mark["seq"] for mark in stored["marks"]] == [63, 64, 50]
    after = await store.get_snapshot(conversation_id, after=None, limit=3)
    assert after is not None
    assert after.read_marks == (marks[0], ReadMark(BOB, 64, NOW_MS + 1), marks[2])
    await store.close()


async def test_a_fold_that_fails_is_made_up_for_by_a_later_one(
    url: str, plain: MongoClient[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    database = Spoiled(url)
    store = MongoStore(database)
    await store.open()
    conversation_id = await group(store)

    async def fails() -> None:
        raise OperationFailure("not now")

    caplog.set_level(logging.INFO)
    database.before_own = fails
    await say(store, conversation_id, 64)
    await eventually("it is said that a fold failed", lambda: "not now" in caplog.text)
    database.before_own = None
    await say(store, conversation_id, 1)
    await folded(plain, 65)
    await store.close()


async def test_a_read_mark_that_another_process_raised_further_is_told(url: str) -> None:
    """It happens between the look at the mark and its change."""
    database = Spoiled(url)
    here, elsewhere = MongoStore(database), MongoStore(url)
    await here.open()
    await elsewhere.open()
    conversation_id = await group(here)
    await say(here, conversation_id, 5)
    database.before_marks = lambda: elsewhere.advance_read(conversation_id, BOB, 4, NOW_MS + 4)
    behind, other = await asyncio.gather(
        here.advance_read(conversation_id, BOB, 3, NOW_MS + 3), here.advance_read(conversation_id, CAT, 2, NOW_MS + 2)
    )
    assert (behind.mark, behind.advanced) == (ReadMark(BOB, 4, NOW_MS + 4), False)
    assert (other.mark, other.advanced) == (ReadMark(CAT, 2, NOW_MS + 2), True)
    await here.close()
    await elsewhere.close()


async def test_nobody_has_read_more_than_there_is(url: str) -> None:
    """A mark that another server raised meanwhile, to newer messages, made the unread count negative."""
    database = Spoiled(url)
    one, two = MongoStore(database), MongoStore(url)
    await one.open()
    await two.open()
    conversation_id = await group(one)
    await say(one, conversation_id, 3)

    async def the_other_goes_on() -> None:
        await say(two, conversation_id, 2)
        await two.advance_read(conversation_id, BOB, 5, NOW_MS)

    database.before_marks = the_other_goes_on
    advance = await one.advance_read(conversation_id, BOB, 3, NOW_MS)
    assert (advance.mark.read_seq, advance.last_seq, advance.advanced) == (5, 5, False)
    await one.close()
    await two.close()


async def test_a_read_mark_is_never_beyond_the_newest_message_that_is_told(url: str) -> None:
    """Not even if the user sends one more between the two looks that an answer takes."""
    database = Spoiled(url)
    store = MongoStore(database)
    await store.open()
    conversation_id = await group(store)
    await say(store, conversation_id, 3)

    def one_more() -> Awaitable[Appended]:
        return store.append_message(message_draft(conversation_id))

    database.before_own = one_more
    advance = await store.advance_read(conversation_id, ANN, 10, NOW_MS)
    assert (advance.mark.read_seq, advance.last_seq, advance.advanced) == (3, 3, False)
    (summary,) = (await store.list_conversations(ANN, limit=1, before=None)).summaries
    assert (summary.read_seq, summary.last_seq) == (4, 4)
    snapshot = await store.get_snapshot(conversation_id, after=None, limit=1)
    assert snapshot is not None
    assert (snapshot.read_marks[0].read_seq, snapshot.last_seq) == (5, 5)
    await store.close()


async def test_a_bug_is_logged_once_and_answered(url: str, caplog: pytest.LogCaptureFixture) -> None:
    database = Spoiled(url)
    store = MongoStore(database)
    await store.open()
    conversation_id = await group(store)
    database.insert_error = KeyError("a bug")
    results = await asyncio.gather(
        *(store.append_message(message_draft(conversation_id)) for _ in range(3)), return_exceptions=True
    )
    assert [type(result) for result in results] == [InternalError] * 3
    assert caplog.text.count("KeyError: 'a bug'") == 1
    database.insert_error = None
    assert (await store.append_message(message_draft(conversation_id))).message.seq == 1
    await store.close()


async def test_a_conversation_made_elsewhere_but_not_committed_is_waited_for_within_bounds(url: str) -> None:
    database = Spoiled(url)
    store = MongoStore(database, attempts=3)
    await store.open()
    await store.create_conversation(conversation_draft(BOB))
    database.looks = 2
    assert (await store.create_conversation(conversation_draft(BOB))).duplicate
    assert database.looks == 0
    database.looks = 3
    with pytest.raises(Overloaded):
        await store.create_conversation(conversation_draft(BOB))
    await store.close()


async def test_who_joins_while_much_is_written_misses_nothing(url: str) -> None:
    """Between the look at the newest change and the page of messages, a message was changed and more were sent than the
    page holds: the page had none that was known to be complete, and the answer was empty, without a gap or updates."""

    class Late(MongoDatabase):
        before_page: Callable[[], Awaitable[None]] | None = None

        async def find_messages(self, which: Document, *more: Any, **options: Any) -> list[Document]:
            if self.before_page is not None:
                before, self.before_page = self.before_page, None
                await before()
            return await super().find_messages(which, *more, **options)

    database = Late(url)
    store = MongoStore(database)
    await store.open()
    here = await group(store)
    await say(store, here, 3)

    async def meanwhile() -> None:
        await store.change_message(React(here, 1, BOB, "+", on=True))  # 4
        await say(store, here, 4)  # 5 to 8

    database.before_page = meanwhile
    snapshot = await store.get_snapshot(here, after=1, limit=1)
    assert snapshot is not None
    assert ([each.seq for each in snapshot.messages], snapshot.gap) == ([3], Gap(2, 2))
    assert (snapshot.last_seq, snapshot.change) == (3, 3)
    assert [each.seq for each in snapshot.updates] == []
    await store.close()
