"""What the MongoDB store reads: a few questions to the database each, and the documents' meaning.

Each answers the method of `Store` (store/base.py) that has its name. Raises: MongoError.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import Final

from ...chat.domain import FROM_THE_START, ConversationDraft, ConversationId, Gap, Message, UserId
from ...chat.identity import Profile
from ...chat.own_settings import UNSETTLED
from ..encoding import int64
from ..numbering import page_of_changes
from ..results import ChangePage, ConversationPage, Counts, MessagePage, ReadMarkPage, Snapshot
from ..writes import Part
from . import documents, queries
from .database import MongoDatabase
from .documents import Document
from .marks import MARK_FIELDS, count_mentions, count_uncounted, find_marks, find_own_messages
from .people import load_conversation, load_draft, load_entries

_NEWEST_MESSAGES: Final = 1000  # among which the newest activity is found
_LOOKED_AT: Final = 300  # messages among which a page of changes is looked for, so that it costs little whatever moved
_PROBES: Final = 32
_ACTIVITY: Final = {"_id": 0, "activity_at_ms": 1}


async def newest_activity(database: MongoDatabase) -> int:
    rows = await database.find_messages({}, _ACTIVITY, sort=("_id", -1), limit=_NEWEST_MESSAGES)
    rows += await database.find_conversations({}, _ACTIVITY, sort=("activity_at_ms", -1), limit=1)
    return max((row.get("activity_at_ms", 0) for row in rows), default=0)


async def find_people(database: MongoDatabase, conversation_id: ConversationId) -> Document | None:
    """A conversation's document without what participants have each."""
    return await database.find_conversation({"_id": conversation_id}, {"marks": 0, "settings": 0})


async def find_last(database: MongoDatabase, conversation_id: ConversationId, *fields: str) -> Document | None:
    """A conversation's document with its newest message."""
    rows = await database.aggregate_conversations(queries.with_last([conversation_id], *fields))
    return rows[0] if rows else None


async def get_snapshot(
    database: MongoDatabase,
    found: Document,
    after: int | None,
    limit: int,
    reader: UserId | None,
    participants: int | None,
) -> Snapshot:
    # The conversation and its newest numbers were read before its messages: its read marks are then never ahead of
    # them, and nothing up to that change is missing.
    conversation_id = ConversationId(found["_id"])
    change = documents.load_tail(found).change
    newest, change = await _newest_at(database, conversation_id, change, limit + 1)
    last_seq = newest[0]["seq"] if newest else 0
    page, gap, through = newest[:limit], None, None
    updates: tuple[Message, ...] = ()
    if after is not None and after <= change:
        after = max(after, 0)
        missed = [row for row in newest if documents.load_born(row) > after]
        page = missed[:limit]
        if len(missed) < len(newest) or len(missed) == last_seq:
            known = last_seq - len(missed)
        else:
            known = await _created_up_to(database, conversation_id, after, last_seq, change)
        if page and page[-1]["seq"] > known + 1:
            gap = Gap(known + 1, page[-1]["seq"] - 1)
        if change > last_seq:
            updates, through = await _updates(database, conversation_id, after, known, limit)
    unfolded = newest
    if newest and newest[-1]["seq"] > found["folded"] + 1:
        unfolded = await find_own_messages(database, [(conversation_id, found["folded"], None)])
    marks = documents.load_marks(found, (row for row in unfolded if found["folded"] < row["seq"] <= last_seq))
    conversation = load_conversation(found, participants, reader=reader)
    shown = [marks[user_id] for user_id in conversation.participant_ids]
    if reader in marks and reader not in conversation.participant_ids:
        shown.append(marks[reader])
    messages = tuple(documents.load_message(row) for row in reversed(page))
    uncounted = unread_mentions = 0
    settings = UNSETTLED
    if reader is not None and (mark := marks.get(reader)) is not None:
        settings = documents.load_settings(found, mark)
        if mark.read_seq < last_seq:
            place = conversation_id, mark.read_seq
            uncounted = (await count_uncounted(database, [place])).get(place, 0)
            unread_mentions = (await count_mentions(database, reader, dict([place])))[conversation_id]
    return Snapshot(
        conversation,
        tuple(shown),
        messages,
        last_seq,
        change,
        gap,
        updates,
        through,
        uncounted,
        unread_mentions,
        settings,
    )


async def list_changes(database: MongoDatabase, conversation_id: ConversationId, after: int, limit: int) -> ChangePage:
    rows = await database.aggregate_conversations(queries.with_last([conversation_id], "created_at_ms", "folded"))
    tail = documents.load_tail(rows[0]) if rows else None
    if tail is None or after >= tail.change:
        return ChangePage((), tail.change if tail else 0, has_more=False)
    after = max(after, 0)
    known = await _created_up_to(database, conversation_id, after, tail.seq, tail.change)
    last, through = known + _LOOKED_AT, tail.change
    if last < tail.seq:
        through = min(through, (await _find_born(database, conversation_id, [last]))[last])
    # What moved before what did not: one that moves in between is in neither, and comes again later.
    moved: Document = {"conversation": conversation_id, "moved": True, "latest": {"$gt": after, "$lte": through}}
    found = await database.find_messages(moved, sort=("latest", 1), limit=limit + 1)
    still: Document = {"conversation": conversation_id, "seq": {"$gt": known, "$lte": last}, "moved": {"$ne": True}}
    found += await _page(database, still, 1, limit + 1)
    messages = [documents.load_message(row) for row in found]
    return page_of_changes([each for each in messages if each.change <= through], through, tail.change, limit)


async def newest_changes(database: MongoDatabase, ids: Sequence[ConversationId]) -> dict[ConversationId, int]:
    rows = await database.aggregate_conversations(queries.with_last(ids, "created_at_ms", "folded"))
    return {row["_id"]: documents.load_tail(row).change for row in rows}


async def get_messages(
    database: MongoDatabase, conversation_id: ConversationId, seqs: Sequence[int]
) -> tuple[Message, ...]:
    which = queries.places((conversation_id, seq) for seq in set(seqs))
    return tuple(documents.load_message(row) for row in await _page(database, which, 1, 0)) if seqs else ()


async def get_last_message(database: MongoDatabase, conversation_id: ConversationId) -> Message | None:
    counted: Document = {"conversation": conversation_id, "uncounted": {"$ne": True}}
    rows = await _page(database, counted, -1, 1)
    return documents.load_message(rows[0]) if rows else None


async def _newest_at(
    database: MongoDatabase, conversation_id: ConversationId, change: int, limit: int
) -> tuple[list[Document], int]:
    """The newest messages as they were at one moment, newest first, and the change up to which that is.

    Args:
        change: at which the conversation stood a moment ago. A message that was created since, with a change in between
            that has not been seen, is left out.
    """
    which: Document = {"conversation": conversation_id}
    while True:
        rows = await _page(database, which, -1, limit)
        kept, at = 0, change
        for row in reversed(rows):
            born = documents.load_born(row)
            if born > at + 1:
                break
            at = max(at, born)
            kept += 1
        if kept == len(rows):
            return rows, at
        which["seq"] = {"$lt": rows[len(rows) - 1 - kept]["seq"]}


async def _updates(
    database: MongoDatabase, conversation_id: ConversationId, after: int, known: int, limit: int
) -> tuple[tuple[Message, ...], int | None]:
    """Messages up to the seq `known` that changed after `after`, and how far that goes if it is not all of them."""
    moved: Document = {"conversation": conversation_id, "moved": True, "latest": {"$gt": int64(after)}}
    fields = {"_id": 0, "seq": 1, "latest": 1}
    keys = await database.find_messages(moved, fields, sort=("latest", 1), limit=_LOOKED_AT + 1)
    through = keys[_LOOKED_AT - 1]["latest"] if len(keys) > _LOOKED_AT else None
    wanted = [row for row in keys[:_LOOKED_AT] if row["seq"] <= known]
    if len(wanted) > limit:
        wanted = wanted[:limit]
        through = wanted[-1]["latest"]
    found = await get_messages(database, conversation_id, [row["seq"] for row in wanted])
    return tuple(sorted(found, key=lambda message: message.change)), through


async def _created_up_to(
    database: MongoDatabase, conversation_id: ConversationId, change: int, last_seq: int, last_change: int
) -> int:
    """The newest seq that was created up to a change number of the conversation; 0 if there is none.

    Messages are created in the order of seq, and a creation number is ahead of its seq by the number of changes before
    it. Each look is at some seqs between, so that a few are enough; without changes it needs none.
    """
    low, high = max(0, change - (last_change - last_seq)), min(change, last_seq)
    while low < high:
        step = -(-(high - low) // _PROBES)
        probes = [*range(low + step, high, step), high]
        for seq, born in sorted((await _find_born(database, conversation_id, probes)).items()):
            if born > change:
                high = seq - 1
                break
            low = seq
    return low


async def _find_born(database: MongoDatabase, conversation_id: ConversationId, seqs: list[int]) -> dict[int, int]:
    which: Document = {"conversation": conversation_id, "seq": {"$in": seqs}}
    rows = await database.find_messages(which, {"_id": 0, "seq": 1, "change": 1, "born": 1})
    return {row["seq"]: documents.load_born(row) for row in rows}


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
    above = {each: marks[each, user_id].read_seq for each in page}
    uncounted = await count_uncounted(database, above.items())
    behind = {each: seq for each, seq in above.items() if seq < documents.load_tail(page[each]).seq}
    mentions = await count_mentions(database, user_id, behind)
    last = {each: row.get("last") for each, row in page.items()}
    if hidden := [each for each, row in last.items() if row is not None and row.get("uncounted")]:
        last |= dict.fromkeys(hidden)
        found = await database.aggregate_conversations(queries.last_counted(hidden))
        last |= {row["_id"]: row.get("last") for row in found}
    return ConversationPage(
        tuple(
            documents.load_summary(
                row, last[each], marks[each, user_id], uncounted.get((each, above[each]), 0), mentions[each]
            )
            for each, row in page.items()
        ),
        has_more=len(rows) > limit,
        unread=unread,
    )


async def list_readers(database: MongoDatabase, parts: Sequence[Part]) -> frozenset[Part]:
    which = {"_id": {"$in": list({conversation_id for conversation_id, _ in parts})}}
    found = {row["_id"]: row for row in await database.find_conversations(which, {**MARK_FIELDS, "added": 1})}
    own = [(each, found[each]["folded"], user_id) for each, user_id in parts if each in found]
    written: dict[ConversationId, list[Document]] = {}
    for row in await find_own_messages(database, own) if own else ():
        written.setdefault(row["conversation"], []).append(row)
    readers: set[Part] = set()
    for each, row in found.items():
        marks = documents.load_marks(row, written.get(each, ()))
        entries = load_entries(row, marks)
        for user_id, mark in marks.items():
            if mark.read_seq >= entries.get(user_id, FROM_THE_START).since:
                readers.add((each, user_id))
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


async def list_drafts(
    database: MongoDatabase, after: ConversationId | None, limit: int, only: ConversationId | None = None
) -> list[tuple[ConversationDraft, bool]]:
    """Each with whether it has a message pending. `only`: that one."""
    rows = await database.aggregate_conversations(queries.page_of_drafts(after, limit, only))
    return [(load_draft(row, documents.load_tail(row).activity_at_ms), "pending" in row) for row in rows]


async def _page(database: MongoDatabase, which: Document, direction: int, limit: int) -> list[Document]:
    return await database.find_messages(which, sort=("seq", direction), limit=limit)
