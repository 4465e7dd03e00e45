"""The MongoDB store's start, its indexes, and what it refuses before it reaches the database."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from socketserver.chat.domain import ReadMark, new_id
from socketserver.errors import InternalError, LimitExceeded, Overloaded, StoreUnavailable
from socketserver.store.mongo import mongo_store as mongo_module
from socketserver.store.mongo.documents import INDEXES
from socketserver.store.mongo.mongo_store import MongoStore
from typing import Any

import pytest
from mongoserver import mongo_url, with_database
from pymongo import MongoClient
from pymongo.errors import OperationFailure
from storekit import ANN, BOB, CAT, NOW_MS, conversation_draft, group, message_draft, say, sequence

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
    options = mongo_module._options_for("mongodb://h/d?TimeoutMs=7&appName=mine")
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


async def test_read_marks_are_the_same_before_and_after_they_are_folded(
    url: str, plain: MongoClient[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
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
    while store._tasks:
        await asyncio.wait(store._tasks)
    (stored,) = plain.get_default_database()["conversations"].find()
    assert stored["folded"] == 64
    assert [mark["seq"] for mark in stored["marks"]] == [63, 64, 50]
    after = await store.get_snapshot(conversation_id, after=None, limit=3)
    assert after is not None
    assert after.read_marks == (marks[0], ReadMark(BOB, 64, NOW_MS + 1), marks[2])
    await store.close()


async def test_a_fold_that_fails_is_made_up_for_by_a_later_one(
    url: str, plain: MongoClient[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = MongoStore(url)
    await store.open()
    conversation_id = await group(store)
    real = store._own_messages

    async def fails(*_: object) -> list[dict[str, Any]]:
        raise OperationFailure("not now")

    caplog.set_level(logging.INFO)
    monkeypatch.setattr(store, "_own_messages", fails)
    await say(store, conversation_id, 64)
    while store._tasks:
        await asyncio.wait(store._tasks)
    assert "not now" in caplog.text
    monkeypatch.setattr(store, "_own_messages", real)
    await say(store, conversation_id, 1)
    while store._tasks:
        await asyncio.wait(store._tasks)
    (stored,) = plain.get_default_database()["conversations"].find()
    assert stored["folded"] == 65
    await store.close()


async def test_a_read_mark_that_another_process_raised_further_is_told(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It happens between the look at the mark and its change."""
    here, elsewhere = MongoStore(url), MongoStore(url)
    await here.open()
    await elsewhere.open()
    conversation_id = await group(here)
    await say(here, conversation_id, 5)
    real = here._load_marks

    async def overtaken(*arguments: Any) -> Any:
        marks = await real(*arguments)
        await elsewhere.advance_read(conversation_id, BOB, 4, NOW_MS + 4)
        return marks

    monkeypatch.setattr(here, "_load_marks", overtaken)
    behind, other = await asyncio.gather(
        here.advance_read(conversation_id, BOB, 3, NOW_MS + 3), here.advance_read(conversation_id, CAT, 2, NOW_MS + 2)
    )
    assert (behind.mark, behind.advanced) == (ReadMark(BOB, 4, NOW_MS + 4), False)
    assert (other.mark, other.advanced) == (ReadMark(CAT, 2, NOW_MS + 2), True)
    await here.close()
    await elsewhere.close()


async def test_a_read_mark_is_never_beyond_the_newest_message_that_is_told(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even if the user sends one more between the two looks that an answer takes."""
    store = MongoStore(url)
    await store.open()
    conversation_id = await group(store)
    await say(store, conversation_id, 3)
    real = store._own_messages

    async def later(*arguments: Any) -> Any:
        await store.append_message(message_draft(conversation_id))
        return await real(*arguments)

    monkeypatch.setattr(store, "_own_messages", later)
    advance = await store.advance_read(conversation_id, ANN, 10, NOW_MS)
    assert (advance.mark.read_seq, advance.last_seq, advance.advanced) == (3, 3, False)
    (summary,) = (await store.list_conversations(ANN, limit=1, before=None)).summaries
    assert (summary.read_seq, summary.last_seq) == (4, 4)
    snapshot = await store.get_snapshot(conversation_id, after=None, limit=1)
    assert snapshot is not None
    assert (snapshot.read_marks[0].read_seq, snapshot.last_seq) == (5, 5)
    await store.close()


async def test_a_bug_is_logged_and_answered(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = MongoStore(url)
    await store.open()
    conversation_id = await group(store)

    async def spoiled(_: object) -> None:
        raise KeyError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(store._appender, "append", spoiled)
        with pytest.raises(InternalError):
            await store.append_message(message_draft(conversation_id))
    assert "KeyError: 'a bug'" in caplog.text
    assert (await store.append_message(message_draft(conversation_id))).message.seq == 1
    await store.close()


async def test_a_conversation_made_elsewhere_but_not_committed_is_waited_for_within_bounds(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MongoStore(url)
    await store.open()
    await store.create_conversation(conversation_draft(BOB))

    class NotYet:
        """The collection, to a reader of what is committed."""

        looks = 0

        async def insert_one(self, document: Any) -> None:
            await committed.insert_one(document)

        async def find_one(self, which: Any) -> Any:
            self.looks += 1
            return None if self.looks < 3 else await committed.find_one(which)

    committed = store._conversations
    not_yet = NotYet()
    with monkeypatch.context() as patch:
        patch.setattr(store, "_conversations", not_yet)
        assert (await store.create_conversation(conversation_draft(BOB))).duplicate
        assert not_yet.looks == 3
        not_yet.looks = -10_000
        patch.setattr(mongo_module, "ATTEMPTS", 2)
        with pytest.raises(Overloaded):
            await store.create_conversation(conversation_draft(BOB))
    await store.close()


async def test_nobody_has_read_more_than_there_is(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mark that another server raised meanwhile, to newer messages, made the unread count negative."""
    one, two = MongoStore(url), MongoStore(url)
    await one.open()
    await two.open()
    conversation_id = await group(one)
    await say(one, conversation_id, 3)
    move = one._move

    async def while_the_other_goes_on(*moved: Any) -> Any:
        await say(two, conversation_id, 2)
        await two.advance_read(conversation_id, BOB, 5, NOW_MS)
        return await move(*moved)

    monkeypatch.setattr(one, "_move", while_the_other_goes_on)
    advance = await one.advance_read(conversation_id, BOB, 3, NOW_MS)
    assert (advance.mark.read_seq, advance.last_seq, advance.advanced) == (5, 5, False)
    await one.close()
    await two.close()
