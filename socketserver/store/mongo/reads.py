"""What the MongoDB store reads: a few questions to the database each, and the documents' meaning.

Each answers the method of `Store` (store/base.py) that has its name. Raises: MongoError.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import Final

from ...chat.domain import Conversation, ConversationDraft, ConversationId, Gap, Profile, UserId
from ..base import ConversationPage, Counts, MessagePage, ReadMarkPage, Snapshot
from ..encoding import int64
from ..writes import Part
from . import documents, queries
from .database import MongoDatabase
from .documents import Document
from .marks import MARK_FIELDS, find_marks, find_own_messages

_NEWEST_MESSAGES: Final = 1000  # among which the newest activity is found
_ACTIVITY: Final = {"_id": 0, "activity_at_ms": 1}


async def newest_activity(database: MongoDatabase) -> int:
    rows = await database.find_messages({}, _ACTIVITY, sort=("_id", -1), limit=_NEWEST_MESSAGES)
    rows += await database.find_conversations({}, _ACTIVITY, sort=("activity_at_ms", -1), limit=1)
    return max((row.get("activity_at_ms", 0) for row in rows), default=0)


async def get_conversation(database: MongoDatabase, conversation_id: ConversationId) -> Conversation | None:
    found = await database.find_conversation({"_id": conversation_id}, {"marks": 0})
    return None if found is None else documents.load_conversation(found)


async def get_snapshot(
    database: MongoDatabase,
    conversation_id: ConversationId,
    after: int | None,
    limit: int,
    reader: UserId | None,
    participants: int | None,
) -> Snapshot | None:
    # The conversation before its messages: its read marks are then never ahead of them.
    found = await database.find_conversation({"_id": conversation_id})
    if found is None:
        return None
    newest = await _page(database, {"conversation": conversation_id}, -1, limit + 1)
    last_seq, last_change = (newest[0]["seq"], newest[0]["change"]) if newest else (0, 0)
    page, gap = newest[:limit], None
    if after is not None and after <= last_change:
        missed = [row for row in newest if row["change"] > after]
        page = missed[:limit]
        if len(missed) > limit:
            above: Document = {"conversation": conversation_id, "change": {"$gt": int64(after)}}
            (first,) = await database.find_messages(above, {"seq": 1}, sort=("change", 1), limit=1)
            gap = Gap(first["seq"], missed[limit]["seq"])
    unfolded = newest
    if newest and newest[-1]["seq"] > found["folded"] + 1:
        unfolded = await find_own_messages(database, [(conversation_id, found["folded"], None)])
    marks = documents.load_marks(found, (row for row in unfolded if found["folded"] < row["seq"] <= last_seq))
    conversation = documents.load_conversation(found, participants)
    shown = [marks[user_id] for user_id in conversation.participant_ids]
    if reader in marks and reader not in conversation.participant_ids:
        shown.append(marks[reader])
    messages = tuple(documents.load_message(row) for row in reversed(page))
    return Snapshot(conversation, tuple(shown), messages, last_seq, last_change, gap)


async def list_read_marks(
    database: MongoDatabase, conversation_id: ConversationId, after: UserId | None, limit: int
) -> ReadMarkPage:
    found = await database.find_conversation({"_id": conversation_id}, MARK_FIELDS)
    if found is None:
        return ReadMarkPage((), has_more=False)
    people: list[UserId] = found["participants"]
    start = 0 if after is None else bisect.bisect_right(people, after)
    marks = documents.load_marks(found, await find_own_messages(database, [(conversation_id, found["folded"], None)]))
    page = tuple(marks[user_id] for user_id in people[start : start + limit])
    return ReadMarkPage(page, has_more=start + limit < len(people))


async def list_conversations(
    database: MongoDatabase,
    user_id: UserId,
    limit: int,
    before: tuple[int, ConversationId] | None,
    participants: int | None,
) -> ConversationPage:
    stages = queries.page_of_conversations(user_id, limit, before, participants)
    rows = await database.aggregate_conversations(stages)
    unread = None
    if before is None:
        counted = await database.aggregate_conversations(queries.unread_conversations(user_id)) if rows else []
        unread = counted[0]["unread"] if counted else 0
    page = {row["_id"]: row for row in rows[:limit]}
    marks = await find_marks(database, page, [(conversation_id, user_id) for conversation_id in page])
    return ConversationPage(
        tuple(documents.load_summary(row, marks[each, user_id]) for each, row in page.items()),
        has_more=len(rows) > limit,
        unread=unread,
    )


async def list_readers(database: MongoDatabase, parts: Sequence[Part]) -> frozenset[Part]:
    which = {"_id": {"$in": list({conversation_id for conversation_id, _ in parts})}}
    found = {row["_id"]: row for row in await database.find_conversations(which, MARK_FIELDS)}
    own = [(each, found[each]["folded"], user_id) for each, user_id in parts if each in found]
    written = await find_own_messages(database, own) if own else []
    readers = {(row["conversation"], row["sender"]) for row in written}
    for each, row in found.items():
        readers |= {(each, mark.user_id) for mark in documents.load_marks(row, ()).values() if mark.read_seq}
    return frozenset(readers.intersection(parts))


async def list_messages(
    database: MongoDatabase, conversation_id: ConversationId, before_seq: int | None, after_seq: int | None, limit: int
) -> MessagePage:
    which: Document = {"conversation": conversation_id}
    if before_seq is not None:
        which["seq"] = {"$lt": int64(before_seq)}
    if after_seq is not None:
        which["seq"] = {"$gt": int64(after_seq)}
    rows = await _page(database, which, -1 if after_seq is None else 1, limit + 1)
    page = rows[:limit] if after_seq is not None else reversed(rows[:limit])
    return MessagePage(tuple(documents.load_message(row) for row in page), has_more=len(rows) > limit)


async def get_profiles(database: MongoDatabase, user_ids: Sequence[UserId]) -> list[Profile]:
    rows = await database.find_profiles({"_id": {"$in": list(dict.fromkeys(user_ids))}})
    return [documents.load_profile(row) for row in rows]


async def list_profiles(database: MongoDatabase, after: UserId | None, limit: int) -> list[Profile]:
    which: Document = {} if after is None else {"_id": {"$gt": after}}
    return [documents.load_profile(row) for row in await database.find_profiles(which, sort=("_id", 1), limit=limit)]


async def count(database: MongoDatabase) -> Counts:
    return Counts(*await database.count())


async def list_drafts(database: MongoDatabase, after: ConversationId | None, limit: int) -> list[ConversationDraft]:
    return [
        documents.load_conversation_draft(row)
        for row in await database.aggregate_conversations(queries.page_of_drafts(after, limit))
    ]


async def _page(database: MongoDatabase, which: Document, direction: int, limit: int) -> list[Document]:
    return await database.find_messages(which, sort=("seq", direction), limit=limit)
