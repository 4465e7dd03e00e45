"""The production store: MongoDB. Owns what waits, and what travels together; access.py who may ask.

Sending writes one document and nothing else (documents.py says why that is enough); calls that arrive together share
round trips, in order within a conversation (store/lanes.py). Numbers come from no counter: the next one is the last one
plus one, the unique indexes settle who was first, and the loser takes the number after (appends.py).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from ...chat.changes import Change
from ...chat.domain import Conversation, ConversationDraft, ConversationId, Message, MessageDraft, UserId
from ...chat.identity import Profile, ProfileUpdate
from ...chat.own_settings import OwnSettings, SettingsUpdate
from ...chat.people import ConversationChange
from ...errors import ConversationNotFound, IdempotencyConflict, Overloaded
from ..base import StoreObserver
from ..checking import SharedCheck
from ..encoding import dump_metadata, texts_of
from ..lanes import Lanes
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
from ..writes import Advance, Alter, Create, Part, Reform, SetProfile, SetSettings, Unobserved
from . import documents, marks, own_settings, people, profiles, queries, reads
from .access import Access
from .appends import ATTEMPTS, RETRY_AFTER_MS, Appender, pause
from .database import MongoDatabase, MongoError
from .documents import Document
from .plans import NamedAppend, Numbered
from .reforms import Reforms, copy_conversation

_log = logging.getLogger(__name__)

_FLIGHTS: Final = 2  # of messages at once; of read marks there is one
_WRITES_PER_FLIGHT: Final = 500  # at most


class MongoStore:
    """A `Copyable` store (base.py describes each method) on MongoDB: a replica set, or a single server with a journal.

    Args:
        database: a MongoDB connection string, of which database.py says more; or a `MongoDatabase`.
        max_queued_writes: writes that may wait or be under way; one more is refused with Overloaded.
        attempts: how often a conversation is tried to be made before that is refused with Overloaded.
        observer: told of commits, lost races and failures.

    Raises: ValueError for a malformed connection string.
    Source: docs/storage.md#mongodb
    """

    def __init__(
        self,
        database: str | MongoDatabase,
        *,
        max_queued_writes: int = 10_000,
        attempts: int = ATTEMPTS,
        observer: StoreObserver | None = None,
    ) -> None:
        self._database = MongoDatabase(database) if isinstance(database, str) else database
        self._observer: StoreObserver = Unobserved() if observer is None else observer
        self._access = Access(self._database, self._observer, max_queued_writes)
        self._attempts = attempts
        self._appender = Appender(self._database, self._need_fold, self._observer.retried)
        self._numbered: Lanes[Numbered] = Lanes(self._fly_numbered, flights=_FLIGHTS, most=_WRITES_PER_FLIGHT)
        self._advances: Lanes[Advance] = Lanes(self._fly_advances, flights=1, most=_WRITES_PER_FLIGHT)
        self._profiles: Lanes[SetProfile] = Lanes(self._fly_profiles, flights=1, most=_WRITES_PER_FLIGHT)
        self._settings: Lanes[SetSettings] = Lanes(self._fly_settings, flights=1, most=_WRITES_PER_FLIGHT)
        self._reforms = Reforms(self._database, self._access, self._say)
        self._folding: set[ConversationId] = set()
        self._shared_check = SharedCheck(self._check)

    @property
    def races(self) -> int:
        """How often another process took a number first; each cost its calls another round trip."""
        return self._appender.races

    # ------------------------------------------------------------------------------------------------------- life

    async def open(self) -> None:
        if self._access.is_open:
            return
        await self._database.open()
        self._appender.forget()
        self._access.open()

    async def close(self) -> None:
        self._access.refuse()
        await self._numbered.drain()
        await self._advances.drain()
        await self._profiles.drain()
        await self._settings.drain()
        await self._access.finish()
        await self._database.close()

    async def check(self) -> None:
        self._access.require()
        await self._shared_check()

    async def _check(self) -> None:
        async with self._access.answering():
            await self._database.ping()

    # ----------------------------------------------------------------------------------------------------- writes

    async def create_conversation(self, draft: ConversationDraft) -> Created:
        documents.check_value(
            draft.id, draft.title, draft.created_by, draft.dedupe_key, *draft.participant_ids, at_ms=draft.created_at_ms
        )
        call = Create(self._access.admit().create_future(), draft)
        return await self._access.carry(call, lambda: self._create(call))

    async def append_message(self, draft: MessageDraft) -> Appended:
        return await self._say(draft, lambda: None)

    async def _say(self, draft: MessageDraft, numbered: Callable[[], None]) -> Appended:
        metadata = dump_metadata(draft.metadata)
        documents.check_value(
            draft.id,
            draft.conversation_id,
            draft.sender_id,
            draft.idempotency_key,
            draft.body,
            metadata,
            *draft.mentions,
            at_ms=draft.created_at_ms,
        )
        call = NamedAppend(self._access.admit().create_future(), draft, metadata, documents.write_id(draft.place_ms))
        numbered()
        return await self._access.queue(self._numbered, draft.conversation_id, call)

    async def change_message(self, change: Change) -> Changed:
        documents.check_value(*texts_of(change), at_ms=getattr(change, "at_ms", 0))
        call = Alter(self._access.admit().create_future(), change)
        return await self._access.queue(self._numbered, change.conversation_id, call)

    async def change_conversation(
        self, change: ConversationChange, numbered: Callable[[], None] = lambda: None
    ) -> Reformed:
        documents.check_value(*texts_of(change), at_ms=change.at_ms)
        call = Reform(self._access.admit().create_future(), change)
        return await self._access.carry(call, lambda: self._reforms.change(call, numbered))

    async def advance_read(self, conversation_id: ConversationId, user_id: UserId, seq: int, at_ms: int) -> ReadAdvance:
        documents.check_value(conversation_id, user_id, at_ms=at_ms)
        call = Advance(self._access.admit().create_future(), conversation_id, user_id, seq, at_ms)
        return await self._access.queue(self._advances, None, call)

    async def set_settings(
        self, conversation_id: ConversationId, user_id: UserId, update: SettingsUpdate
    ) -> OwnSettings:
        documents.check_value(conversation_id, user_id)
        call = SetSettings(self._access.admit().create_future(), conversation_id, user_id, update)
        return await self._access.queue(self._settings, None, call)

    async def set_profile(self, update: ProfileUpdate) -> ProfileSet:
        documents.check_value(update.user_id, update.name, update.avatar)
        call = SetProfile(self._access.admit().create_future(), update)
        return await self._access.queue(self._profiles, None, call)

    async def _create(self, call: Create) -> None:
        draft, write = call.draft, documents.new_write()
        document = people.dump_conversation(draft, write)
        same: list[Document] = [{"_id": draft.id}]
        if draft.dedupe_key is not None:
            same.append({"dedupe": draft.dedupe_key})
        async with self._access.answering():
            for attempt in range(self._attempts):
                started_s = time.perf_counter()
                if await self._database.insert_conversation(document):
                    self._observer.committed(1, time.perf_counter() - started_s)
                    call.result = Created(draft.made(), duplicate=False)
                    return
                found = await self._database.find_conversation(queries.either(same))
                if found is not None:
                    call.repeat(people.load_conversation(found), own=found["write"] == write)
                    return
                # What was in the way is not committed yet; it will be, or it will be gone.
                await pause(attempt)
        raise Overloaded(retry_after_ms=RETRY_AFTER_MS)

    async def _fly_numbered(self, calls: Sequence[Numbered]) -> None:
        with self._access.landing(calls):
            await self._appender.write(calls)

    async def _fly_advances(self, calls: Sequence[Advance]) -> None:
        with self._access.landing(calls):
            await marks.advance(self._database, calls)

    async def _fly_profiles(self, calls: Sequence[SetProfile]) -> None:
        with self._access.landing(calls):
            await profiles.set_profiles(self._database, calls)

    async def _fly_settings(self, calls: Sequence[SetSettings]) -> None:
        with self._access.landing(calls):
            await own_settings.set_settings(self._database, calls)

    def _need_fold(self, conversation_id: ConversationId, seq: int) -> None:
        if conversation_id not in self._folding:
            self._folding.add(conversation_id)
            self._access.start(self._fold(conversation_id, seq))

    async def _fold(self, conversation_id: ConversationId, seq: int) -> None:
        try:
            await marks.fold(self._database, conversation_id, seq)
            self._appender.folded(conversation_id, seq)
        except MongoError as error:
            _log.info("Read marks were not brought up to date; a later message will do it: %s", error)
        finally:
            self._folding.discard(conversation_id)

    # ------------------------------------------------------------------------------------------------------ reads

    async def newest_activity(self) -> int:
        async with self._access.answering():
            return await reads.newest_activity(self._database)

    async def get_conversation(self, conversation_id: ConversationId) -> Conversation | None:
        documents.check_value(conversation_id)
        found = await self._reforms.load(lambda: reads.find_people(self._database, conversation_id))
        return None if found is None else people.load_conversation(found)

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
        found = await self._reforms.load(lambda: reads.find_last(self._database, conversation_id))
        if found is None:
            return None
        async with self._access.answering():
            return await reads.get_snapshot(self._database, found, after, limit, reader, participants)

    async def list_read_marks(
        self, conversation_id: ConversationId, *, after: UserId | None, limit: int
    ) -> ReadMarkPage:
        documents.check_value(conversation_id, after)
        async with self._access.answering():
            return await reads.list_read_marks(self._database, conversation_id, after, limit)

    async def list_conversations(
        self,
        user_id: UserId,
        *,
        limit: int,
        before: tuple[int, ConversationId] | None,
        participants: int | None = None,
    ) -> ConversationPage:
        documents.check_value(user_id, before[1] if before else None)
        async with self._access.answering():
            return await reads.list_conversations(self._database, user_id, limit, before, participants)

    async def list_readers(self, parts: Sequence[Part]) -> frozenset[Part]:
        documents.check_value(*(value for part in parts for value in part))
        async with self._access.answering():
            return await reads.list_readers(self._database, parts)

    async def list_changes(self, conversation_id: ConversationId, *, after: int, limit: int) -> ChangePage:
        documents.check_value(conversation_id)
        async with self._access.answering():
            return await reads.list_changes(self._database, conversation_id, after, limit)

    async def newest_changes(self, ids: Sequence[ConversationId]) -> Mapping[ConversationId, int]:
        documents.check_value(*ids)
        async with self._access.answering():
            return await reads.newest_changes(self._database, ids)

    async def get_last_message(self, conversation_id: ConversationId) -> Message | None:
        documents.check_value(conversation_id)
        async with self._access.answering():
            return await reads.get_last_message(self._database, conversation_id)

    async def get_messages(self, conversation_id: ConversationId, seqs: Sequence[int]) -> tuple[Message, ...]:
        documents.check_value(conversation_id)
        async with self._access.answering():
            return await reads.get_messages(self._database, conversation_id, seqs)

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
        async with self._access.answering():
            return await reads.list_messages(self._database, conversation_id, before_seq, after_seq, limit)

    async def get_profiles(self, user_ids: Sequence[UserId]) -> Sequence[Profile]:
        documents.check_value(*user_ids)
        async with self._access.answering():
            return await reads.get_profiles(self._database, user_ids)

    async def count(self) -> Counts:
        async with self._access.answering():
            return await reads.count(self._database)

    async def list_drafts(self, *, after: ConversationId | None, limit: int) -> Sequence[ConversationDraft]:
        async with self._access.answering():
            drafts = await reads.list_drafts(self._database, after, limit)
        for place, (draft, pending) in enumerate(drafts):
            if pending:
                await self.get_conversation(draft.id)
                async with self._access.answering():
                    (drafts[place],) = await reads.list_drafts(self._database, None, 1, draft.id)
        return [draft for draft, _ in drafts]

    async def copy_conversation(self, draft: ConversationDraft) -> None:
        async with self._access.answering():
            await copy_conversation(self._database, draft)

    async def list_settings(self, conversation_id: ConversationId) -> Mapping[UserId, OwnSettings]:
        documents.check_value(conversation_id)
        async with self._access.answering():
            return await own_settings.list_settings(self._database, conversation_id)

    async def copy_messages(self, messages: Sequence[Message], activity_at_ms: int) -> None:
        rows = []
        for each in messages:
            metadata = dump_metadata(each.metadata)
            documents.check_value(each.id, each.sender_id, each.idempotency_key, each.body, metadata)
            write = documents.write_id(activity_at_ms)
            rows.append(documents.dump_message(each, metadata, activity_at_ms, write))
        async with self._access.answering():
            if await reads.find_people(self._database, messages[0].conversation_id) is None:
                raise ConversationNotFound
            if await self._database.write_messages(rows) < len(rows):
                raise IdempotencyConflict

    async def list_profiles(self, *, after: UserId | None, limit: int) -> Sequence[Profile]:
        documents.check_value(after)
        async with self._access.answering():
            return await reads.list_profiles(self._database, after, limit)
