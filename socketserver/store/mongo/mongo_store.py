"""The production store: MongoDB through motor. The only module that knows the driver.

Sending writes one document and nothing else (mongo_documents.py says why that is enough); calls that arrive together
share round trips, in order within a conversation (mongo_lanes.py). Numbers come from no counter: the next one is the
last one plus one, the unique indexes settle who was first, and the loser takes the number after.

Motor is deprecated in favour of PyMongo's own async API: docs/decisions/0012-motor-in-one-file.md.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import logging
import os
import random
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from bson import ObjectId
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection
from pymongo import ReadPreference, UpdateOne, WriteConcern
from pymongo.errors import (
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    DuplicateKeyError,
    InvalidURI,
    OperationFailure,
    PyMongoError,
)
from pymongo.read_concern import ReadConcern
from pymongo.uri_parser import parse_uri

from ...chat.domain import (
    Conversation,
    ConversationDraft,
    ConversationId,
    Gap,
    MessageDraft,
    ReadMark,
    UserId,
    same_conversation,
)
from ...errors import ConversationNotFound, IdempotencyConflict, InternalError, Overloaded, StoreUnavailable
from ..base import (
    Appended,
    ConversationPage,
    Created,
    MessagePage,
    Observer,
    ReadAdvance,
    ReadMarkPage,
    Snapshot,
    StoreUnusable,
)
from ..checking import SharedCheck
from ..copying import Counts
from ..lanes import Lanes
from . import documents
from .appends import ATTEMPTS, RETRY_AFTER_MS, Append, Appender, Call, Key, pause
from .documents import CONVERSATIONS, INDEXES, MESSAGES, Document, Index

_log = logging.getLogger(__name__)

T = TypeVar("T")

_DATABASE: Final = "socketserver"  # where the URL names none

# Used where the URL does not say otherwise, in the driver's spelling and units.
_OPTIONS: Final = {
    "appname": "socketserver",
    "serverSelectionTimeoutMS": 2_000,  # how long to look for a primary: an election takes longer, and is an outage
    "connectTimeoutMS": 2_000,
    "timeoutMS": 5_000,  # the whole of one operation, its retry included; the server gives up then too
}

# Acknowledged is durable: on most members, in their journals. Not left to the URL.
_WRITE: Final = WriteConcern(w="majority", j=True)
# What may be shown has to be what cannot be rolled back …
_COMMITTED: Final = ReadConcern("majority")
# … but a guess at the next number is better the newer it is: the unique index has the last word.
_NEWEST: Final = ReadConcern("local")

_NEWEST_MESSAGES: Final = 1000
_ACTIVITY: Final = {"_id": 0, "activity_at_ms": 1}

_FLIGHTS: Final = 2
_WRITES_PER_FLIGHT: Final = 500
# Callers that use the database at once, beside the flights: fewer than motor has threads, five a core.
_QUESTIONS: Final = max(2, min(8, 5 * (os.cpu_count() or 1) - 3))
_PROBE_S: Final = 0.25  # between two looks whether a database that is away is back


@dataclass(slots=True, eq=False)
class _Advance(Call[ReadAdvance]):
    conversation_id: ConversationId
    user_id: UserId
    seq: int
    at_ms: int


class MongoStore:
    """A `Store` (base.py, where each method is described) on a MongoDB replica set, or a single server with a journal.

    Args:
        url: a MongoDB connection string; its database, or `socketserver`, is used. Its options win over this module's
            defaults, except for the write and read concerns.
        max_queued_writes: writes that may wait or be under way; one more is refused with Overloaded.
        observer: told of commits, lost races and failures.

    Raises: ValueError for a malformed connection string.
    Source: docs/storage.md#mongodb
    """

    def __init__(self, url: str, *, max_queued_writes: int = 10_000, observer: Observer | None = None) -> None:
        self._observer = observer
        self._url = url
        self._options = _options_for(url)
        self._max_queued_writes = max_queued_writes
        self._loop: asyncio.AbstractEventLoop | None = None  # set while the store is open
        self._client: AsyncIOMotorClient[Document] | None = None
        self._appender = Appender(self, self._need_fold, self._lost_race)
        self._appends: Lanes[Append] = Lanes(self._fly_appends, flights=_FLIGHTS, most=_WRITES_PER_FLIGHT)
        self._advances: Lanes[_Advance] = Lanes(self._fly_advances, flights=1, most=_WRITES_PER_FLIGHT)
        self._creating: set[asyncio.Task[Created]] = set()
        self._queued = 0
        self._away = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._folding: set[ConversationId] = set()
        self._asking = asyncio.Semaphore(_QUESTIONS)
        self._shared_check = SharedCheck(self._check)

    @property
    def races(self) -> int:
        """How often another process took a number first; each cost its calls another round trip."""
        return self._appender.races

    def _committed(self, writes: int, started: float) -> None:
        if self._observer is not None:
            self._observer.committed(writes, time.perf_counter() - started)

    def _lost_race(self) -> None:
        if self._observer is not None:
            self._observer.retried()

    # ------------------------------------------------------------------------------------------------------- life

    async def open(self) -> None:
        if self._loop is not None:
            return
        loop = asyncio.get_running_loop()
        try:
            client: AsyncIOMotorClient[Document] = AsyncIOMotorClient(self._url, io_loop=loop, **self._options)
        except (PyMongoError, OSError) as error:  # a mongodb+srv name is looked up here
            raise StoreUnusable(f"The MongoDB connection string cannot be used: {error}") from error
        database = client.get_default_database(_DATABASE)
        try:
            for index in INDEXES:
                await _ensure(database.get_collection(index.collection, write_concern=_WRITE), index)
        except PyMongoError as error:
            await _close(client)
            kind = StoreUnavailable if isinstance(error, ConnectionFailure) else StoreUnusable
            raise kind(f"The MongoDB database {database.name} cannot be used: {error}") from error
        except BaseException:
            await _close(client)
            raise
        everything: dict[str, Any] = {"write_concern": _WRITE, "read_preference": ReadPreference.PRIMARY}
        self._conversations = database.get_collection(CONVERSATIONS, read_concern=_COMMITTED, **everything)
        self._messages = database.get_collection(MESSAGES, read_concern=_COMMITTED, **everything)
        self._newest = database.get_collection(CONVERSATIONS, read_concern=_NEWEST, **everything)
        self._appender.forget()
        self._asking = asyncio.Semaphore(_QUESTIONS)
        self._away = False
        self._client, self._loop = client, loop

    async def close(self) -> None:
        self._loop = None
        if self._client is None:
            return
        await self._appends.drain()
        await self._advances.drain()
        if self._creating:
            await asyncio.wait(self._creating)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        client, self._client = self._client, None
        if client is not None:
            await _close(client)

    async def check(self) -> None:
        self._require()
        await self._shared_check()

    async def _check(self) -> None:
        async with self._answering():
            await self._conversations.database.command("ping", read_preference=ReadPreference.PRIMARY)

    # ----------------------------------------------------------------------------------------------------- writes

    async def create_conversation(self, draft: ConversationDraft) -> Created:
        documents.check_value(
            draft.id, draft.title, draft.created_by, draft.dedupe_key, *draft.participant_ids, at_ms=draft.created_at_ms
        )
        creating = self._admit().create_task(self._create(draft))
        self._creating.add(creating)
        self._queued += 1
        creating.add_done_callback(self._created)
        return await asyncio.shield(creating)  # a caller that leaves does not stop it half-way

    async def _create(self, draft: ConversationDraft) -> Created:
        write = ObjectId()
        document = documents.dump_conversation(draft, write)
        same: list[Document] = [{"_id": draft.id}]
        if draft.dedupe_key is not None:
            same.append({"dedupe": draft.dedupe_key})
        async with self._answering():
            for attempt in range(ATTEMPTS):
                started = time.perf_counter()
                with contextlib.suppress(DuplicateKeyError):
                    await self._conversations.insert_one(document)
                    self._committed(1, started)
                    return Created(documents.load_conversation(document), duplicate=False)
                found = await self._conversations.find_one(documents.either(same))
                if found is not None:
                    conversation = documents.load_conversation(found)
                    if not same_conversation(conversation, draft):
                        raise IdempotencyConflict
                    return Created(conversation, duplicate=found["write"] != write)
                # What was in the way is not committed yet; it will be, or it will be gone.
                await pause(attempt)
        raise Overloaded(retry_after_ms=RETRY_AFTER_MS)

    def _created(self, creating: asyncio.Task[Created]) -> None:
        self._creating.discard(creating)
        self._queued -= 1
        if not creating.cancelled():
            creating.exception()  # seen, even if the caller has left

    async def append_message(self, draft: MessageDraft) -> Appended:
        metadata = documents.dump_metadata(draft.metadata)
        documents.check_value(
            draft.id,
            draft.conversation_id,
            draft.sender_id,
            draft.idempotency_key,
            draft.body,
            metadata,
            at_ms=draft.created_at_ms,
        )
        call = Append(self._admit().create_future(), draft, metadata, documents.write_id(draft))
        return await self._queue(self._appends, draft.conversation_id, call)

    async def advance_read(self, conversation_id: ConversationId, user_id: UserId, seq: int, at_ms: int) -> ReadAdvance:
        documents.check_value(conversation_id, user_id, at_ms=at_ms)
        call = _Advance(self._admit().create_future(), conversation_id, user_id, seq, at_ms)
        return await self._queue(self._advances, None, call)

    async def _fly_appends(self, calls: Sequence[Append]) -> None:
        with self._landing(calls):
            await self._appender.append(calls)

    async def insert(self, rows: Sequence[Document]) -> int:
        """For the appender, like the two after it: see `Log`."""
        try:
            # In order: a row that is stored after a refused one would leave a hole.
            await self._messages.insert_many(rows, ordered=True)
        except BulkWriteError as error:
            failed = error.details["writeErrors"]
            if error.details["writeConcernErrors"] or [each["code"] for each in failed] != [11000]:
                raise
            return int(failed[0]["index"])
        return len(rows)

    async def find_stored(self, keys: Iterable[Key]) -> Sequence[Document]:
        return await self._messages.find(documents.stored_keys(keys)).to_list(None)

    async def find_last(self, ids: Sequence[ConversationId]) -> Sequence[Document]:
        return await self._newest.aggregate(documents.with_last(ids, "created_at_ms", "folded")).to_list(None)

    def _need_fold(self, conversation_id: ConversationId, seq: int) -> None:
        if conversation_id not in self._folding:
            self._folding.add(conversation_id)
            self._start(self._fold(conversation_id, seq))

    async def _fold(self, conversation_id: ConversationId, seq: int) -> None:
        """Bring the stored read marks up to the senders' own messages, so that readers need not look at many.

        Nothing depends on when, or whether, it happens.
        """
        try:
            found = await self._conversations.find_one({"_id": conversation_id}, {"participants": 1, "folded": 1})
            assert found is not None
            places = {user_id: place for place, user_id in enumerate(found["participants"])}
            marks: dict[str, Document] = {}
            for row in await self._own_messages([(conversation_id, found["folded"], None)]):
                if row["seq"] <= seq and row["sender"] in places:
                    mark = {"seq": row["seq"], "at_ms": row["created_at_ms"]}
                    place = f"marks.{places[row['sender']]}"
                    marks[place] = max(marks.get(place, mark), mark, key=lambda each: int(each["seq"]))
            # Marks compare by their first field, seq: one that has been raised further meanwhile stays.
            await self._conversations.update_one({"_id": conversation_id}, {"$max": {"folded": seq, **marks}})
            self._appender.folded(conversation_id, seq)
        except PyMongoError as error:
            _log.info("Read marks were not brought up to date; a later message will do it: %s", error)
        finally:
            self._folding.discard(conversation_id)

    async def _fly_advances(self, calls: Sequence[_Advance]) -> None:
        with self._landing(calls):
            ids = list(dict.fromkeys(call.conversation_id for call in calls))
            rows = await self._conversations.aggregate(documents.with_last(ids)).to_list(None)
            found = {row["_id"]: row for row in rows}
            wanted = dict.fromkeys((call.conversation_id, call.user_id) for call in calls)
            marks = await self._load_marks(found, [(each, user_id) for each, user_id in wanted if each in found])
            moved: dict[tuple[ConversationId, UserId], ReadMark] = {}
            results: list[tuple[_Advance, ReadAdvance]] = []
            for call in calls:
                pair = call.conversation_id, call.user_id
                mark = marks.get(pair)
                if mark is None:
                    call.error = ConversationNotFound()
                    continue
                last_seq = documents.load_tail(found[call.conversation_id]).seq
                seq = min(call.seq, last_seq)
                advanced = seq > mark.read_seq
                if advanced:
                    mark = marks[pair] = moved[pair] = ReadMark(call.user_id, seq, call.at_ms)
                results.append((call, ReadAdvance(mark, last_seq, advanced)))
            ahead = await self._move(moved, found) if moved else {}
            for call, result in results:
                overtaken = ahead.get((call.conversation_id, call.user_id))
                call.result = result if overtaken is None else _overtaken(overtaken, result)

    async def _move(
        self, moved: Mapping[tuple[ConversationId, UserId], ReadMark], found: Mapping[ConversationId, Document]
    ) -> dict[tuple[ConversationId, UserId], ReadMark]:
        """Store read marks that are higher than what is stored; the ones that another process has raised further."""
        updates = []
        for (conversation_id, user_id), mark in moved.items():
            place = f"marks.{found[conversation_id]['participants'].index(user_id)}"
            raised = {place: {"seq": mark.read_seq, "at_ms": mark.read_at_ms}}
            updates.append(UpdateOne({"_id": conversation_id}, {"$max": raised}))
        done = await self._conversations.bulk_write(updates, ordered=False)
        if done.modified_count == len(updates):
            return {}
        ids = list({conversation_id for conversation_id, _ in moved})
        now = await self._conversations.find({"_id": {"$in": ids}}, {"participants": 1, "marks": 1}).to_list(None)
        stored = {row["_id"]: documents.load_marks(row, ()) for row in now}
        current = {(each, user_id): stored[each][user_id] for each, user_id in moved}
        return {pair: mark for pair, mark in current.items() if mark != moved[pair]}

    # ------------------------------------------------------------------------------------------------------ reads

    async def newest_activity(self) -> int:
        async with self._answering():
            rows: list[Document]
            rows = await self._messages.find({}, _ACTIVITY).sort("_id", -1).limit(_NEWEST_MESSAGES).to_list(None)
            rows += await self._conversations.find({}, _ACTIVITY).sort("activity_at_ms", -1).limit(1).to_list(None)
        return max((row.get("activity_at_ms", 0) for row in rows), default=0)

    async def get_conversation(self, conversation_id: ConversationId) -> Conversation | None:
        documents.check_value(conversation_id)
        async with self._answering():
            found = await self._conversations.find_one({"_id": conversation_id}, {"marks": 0})
        return None if found is None else documents.load_conversation(found)

    async def get_snapshot(
        self,
        conversation_id: ConversationId,
        *,
        after: int | None,
        limit: int,
        reader: UserId | None = None,
        participants: int | None = None,
    ) -> Snapshot | None:
        documents.check_value(conversation_id)
        async with self._answering():
            # The conversation before its messages: its read marks are then never ahead of them.
            found = await self._conversations.find_one({"_id": conversation_id})
            if found is None:
                return None
            newest = await self._page({"conversation": conversation_id}, -1, limit + 1)
            last_seq, last_change = (newest[0]["seq"], newest[0]["change"]) if newest else (0, 0)
            page, gap = newest[:limit], None
            if after is not None and after <= last_change:
                missed = [row for row in newest if row["change"] > after]
                page = missed[:limit]
                if len(missed) > limit:
                    above = {"conversation": conversation_id, "change": {"$gt": documents.int64(after)}}
                    first = await self._messages.find_one(above, {"seq": 1}, sort=[("change", 1)])
                    assert first is not None
                    gap = Gap(first["seq"], missed[limit]["seq"])
            unfolded = newest
            if newest and newest[-1]["seq"] > found["folded"] + 1:
                unfolded = await self._own_messages([(conversation_id, found["folded"], None)])
        marks = documents.load_marks(found, (row for row in unfolded if found["folded"] < row["seq"] <= last_seq))
        conversation = documents.load_conversation(found, participants)
        shown = [marks[user_id] for user_id in conversation.participant_ids]
        if reader in marks and reader not in conversation.participant_ids:
            shown.append(marks[reader])
        messages = tuple(documents.load_message(row) for row in reversed(page))
        return Snapshot(conversation, tuple(shown), messages, last_seq, last_change, gap)

    async def list_read_marks(
        self, conversation_id: ConversationId, *, after: UserId | None, limit: int
    ) -> ReadMarkPage:
        documents.check_value(conversation_id, after)
        async with self._answering():
            found = await self._conversations.find_one(
                {"_id": conversation_id}, {"participants": 1, "marks": 1, "folded": 1}
            )
            if found is None:
                return ReadMarkPage((), has_more=False)
            people: list[UserId] = found["participants"]
            start = 0 if after is None else bisect.bisect_right(people, after)
            own = await self._own_messages([(conversation_id, found["folded"], None)])
        marks = documents.load_marks(found, own)
        page = tuple(marks[user_id] for user_id in people[start : start + limit])
        return ReadMarkPage(page, has_more=start + limit < len(people))

    async def list_conversations(
        self,
        user_id: UserId,
        *,
        limit: int,
        before: tuple[int, ConversationId] | None,
        participants: int | None = None,
    ) -> ConversationPage:
        documents.check_value(user_id, before[1] if before else None)
        async with self._answering():
            stages = documents.page_of_conversations(user_id, limit, before, participants)
            rows = await self._conversations.aggregate(stages).to_list(None)
            page = {row["_id"]: row for row in rows[:limit]}
            marks = await self._load_marks(page, [(conversation_id, user_id) for conversation_id in page])
        return ConversationPage(
            tuple(documents.load_summary(row, marks[each, user_id]) for each, row in page.items()),
            has_more=len(rows) > limit,
        )

    async def list_readers(
        self, parts: Sequence[tuple[ConversationId, UserId]]
    ) -> frozenset[tuple[ConversationId, UserId]]:
        documents.check_value(*(value for part in parts for value in part))
        which = {"_id": {"$in": list({conversation_id for conversation_id, _ in parts})}}
        async with self._answering():
            rows = await self._conversations.find(which, {"participants": 1, "marks": 1, "folded": 1}).to_list(None)
            found = {row["_id"]: row for row in rows}
            own = [(each, found[each]["folded"], user_id) for each, user_id in parts if each in found]
            written = await self._own_messages(own) if own else []
        readers = {(row["conversation"], row["sender"]) for row in written}
        for each, row in found.items():
            readers |= {(each, mark.user_id) for mark in documents.load_marks(row, ()).values() if mark.read_seq}
        return frozenset(readers.intersection(parts))

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
        documents.check_value(conversation_id)
        which: Document = {"conversation": conversation_id}
        if before_seq is not None:
            which["seq"] = {"$lt": documents.int64(before_seq)}
        if after_seq is not None:
            which["seq"] = {"$gt": documents.int64(after_seq)}
        async with self._answering():
            rows = await self._page(which, -1 if after_seq is None else 1, limit + 1)
        page = rows[:limit] if after_seq is not None else reversed(rows[:limit])
        return MessagePage(tuple(documents.load_message(row) for row in page), has_more=len(rows) > limit)

    async def count(self) -> Counts:
        async with self._answering():
            return Counts(
                await self._conversations.count_documents({}, hint="_id_"),
                await self._messages.count_documents({}, hint="_id_"),
            )

    async def list_drafts(self, *, after: ConversationId | None, limit: int) -> Sequence[ConversationDraft]:
        which = {} if after is None else {"_id": {"$gt": after}}
        async with self._answering():
            page: list[Document] = [{"$match": which}, {"$sort": {"_id": 1}}, {"$limit": limit}, {"$unset": "marks"}]
            rows = await self._conversations.aggregate([*page, *documents.LAST]).to_list(None)
        return [documents.load_conversation_draft(row) for row in rows]

    async def _page(self, which: Document, direction: int, limit: int) -> list[Document]:
        return await self._messages.find(which).sort("seq", direction).limit(limit).to_list(None)

    async def _own_messages(self, pairs: Sequence[tuple[ConversationId, int, UserId | None]]) -> list[Document]:
        which, fields = documents.own_messages(pairs)
        return await self._messages.find(which, fields).to_list(None)

    async def _load_marks(
        self, found: Mapping[ConversationId, Document], pairs: Sequence[tuple[ConversationId, UserId]]
    ) -> dict[tuple[ConversationId, UserId], ReadMark]:
        """The read marks of some participants, in conversations that were read with their newest message."""
        unfolded = [
            (conversation_id, found[conversation_id]["folded"], user_id)
            for conversation_id, user_id in pairs
            if documents.load_tail(found[conversation_id]).seq > found[conversation_id]["folded"]
        ]
        own: dict[ConversationId, list[Document]] = {}
        for row in await self._own_messages(unfolded) if unfolded else ():
            # Not one that came since: nobody has read beyond the newest message that the caller is told of.
            if row["seq"] <= documents.load_tail(found[row["conversation"]]).seq:
                own.setdefault(row["conversation"], []).append(row)
        marks = {each: documents.load_marks(row, own.get(each, ())) for each, row in found.items()}
        return {pair: marks[pair[0]][pair[1]] for pair in pairs if pair[1] in marks[pair[0]]}

    # ------------------------------------------------------------------------------------------- queue and outages

    def _admit(self) -> asyncio.AbstractEventLoop:
        """Let one more write in, or say when to come back."""
        loop = self._require()
        if self._queued >= self._max_queued_writes:
            raise Overloaded(retry_after_ms=RETRY_AFTER_MS)
        return loop

    def _require(self) -> asyncio.AbstractEventLoop:
        """Refuse at once what would only run into a timeout."""
        if self._loop is None:
            raise StoreUnavailable("The message store is not open.")
        if self._away:
            raise StoreUnavailable
        return self._loop

    async def _queue(self, lanes: Lanes[Any], lane: ConversationId | None, call: Call[T]) -> T:
        lanes.add(lane, call)
        self._queued += 1
        call.future.add_done_callback(self._left)
        return await call.future

    def _left(self, _: asyncio.Future[Any]) -> None:
        self._queued -= 1

    @contextlib.asynccontextmanager
    async def _answering(self) -> AsyncIterator[None]:
        """Around a caller's own use of the database: outages become StoreUnavailable.

        A few at a time, and the others wait here rather than for one of motor's threads: there each would run into a
        timeout of its own when the database is away; here all are refused after the first.
        """
        self._require()
        async with self._asking:
            self._require()
            try:
                yield
            except PyMongoError as error:
                raise self._outage(error) from error

    @contextlib.contextmanager
    def _landing(self, calls: Sequence[Append] | Sequence[_Advance]) -> Iterator[None]:
        """Around a flight: what goes wrong is told to every call that has no answer yet."""
        try:
            if self._away:
                raise StoreUnavailable
            started = time.perf_counter()
            yield
            self._committed(len(calls), started)
        except Exception as error:
            if isinstance(error, PyMongoError):
                error = self._outage(error)
            elif not isinstance(error, StoreUnavailable):
                _log.error("A call to the MongoDB store failed", exc_info=error)
            for call in calls:
                if call.open:
                    call.error = StoreUnavailable() if isinstance(error, StoreUnavailable) else InternalError()
                    call.error.__cause__ = error

    def _outage(self, error: PyMongoError) -> StoreUnavailable:
        """What a caller is told of an error of the driver; if nobody answers, later calls are refused at once."""
        if self._observer is not None:
            self._observer.failed()
        if not self._away:
            _log.warning("MongoDB cannot be used: %s", error)
            if isinstance(error, ConnectionFailure) or error.timeout:
                self._away = True
                if self._loop is not None:  # whoever closes the store does not wait until the database is back
                    self._start(self._probe())
        told = StoreUnavailable()
        told.__cause__ = error
        return told

    async def _probe(self) -> None:
        """Look until the database is back."""
        while self._away:
            try:
                await self._conversations.database.command("ping", read_preference=ReadPreference.PRIMARY)
            except PyMongoError:
                await asyncio.sleep(random.uniform(0.5, 1.5) * _PROBE_S)  # noqa: S311 - jitter
            else:
                self._away = False
                _log.info("MongoDB can be used again.")

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _overtaken(mark: ReadMark, result: ReadAdvance) -> ReadAdvance:
    # Raised by another process, perhaps to a message that came after this one looked for the newest.
    return ReadAdvance(mark, max(result.last_seq, mark.read_seq), advanced=False)


def _options_for(url: str) -> dict[str, Any]:
    """This module's defaults for what the URL leaves open. Raises ValueError for a malformed URL."""
    if url.startswith("mongodb://"):  # the other kind, mongodb+srv://, takes a look-up in the DNS
        try:
            parse_uri(url)
        except (InvalidURI, ConfigurationError, ValueError) as error:
            raise ValueError(f"The MongoDB connection string is malformed: {error}") from None
    given = {option.partition("=")[0].lower() for option in url.partition("?")[2].replace(";", "&").split("&")}
    return {name: value for name, value in _OPTIONS.items() if name.lower() not in given}


async def _close(client: AsyncIOMotorClient[Document]) -> None:
    # In a thread: it says goodbye to the server, and motor 3.7 lets the event loop wait for that.
    await asyncio.to_thread(client.close)


async def _ensure(collection: AsyncIOMotorCollection[Document], index: Index) -> None:
    """Make an index, or check that the one of that name is what it must be: the promises rest on the unique ones."""
    found = {each["name"]: each for each in await collection.list_indexes().to_list(None)}
    if index.name not in found:
        try:
            await collection.create_index([(key, 1) for key in index.keys], **index.options())
        except OperationFailure as error:
            raise StoreUnusable(
                f"The index {index.name} on {', '.join(index.keys)} of the MongoDB collection {collection.full_name} "
                f"cannot be made: {error}"
            ) from error
    elif not index.fits(found[index.name]):
        wanted = f"{'unique ' if index.unique else ''}on {', '.join(index.keys)}"
        raise StoreUnusable(
            f"The index {index.name} of the MongoDB collection {collection.full_name} is not the one that this server "
            f"needs ({wanted}); drop it and start again."
        )
