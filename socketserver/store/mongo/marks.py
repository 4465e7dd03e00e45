"""Read marks in MongoDB: what is stored beside the conversation, raised by what people have written since.

Sending counts as reading, and writes a message only; so a mark is the larger of the stored one and of the user's newest
own message. Now and then the stored marks are `folded`: brought up to the log, so that readers need not look at many
messages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from ...chat.domain import ConversationId, ReadMark, UserId
from ...chat.own_settings import OwnSettings
from ...errors import Overloaded
from ..writes import Advance, AdvancePlan, Part, Place, plan_advances
from . import documents, queries
from .appends import ATTEMPTS, RETRY_AFTER_MS, pause
from .database import MongoDatabase
from .documents import Document

MARK_FIELDS: Final = {"participants": 1, "marks": 1, "folded": 1}
"""What `documents.load_marks` reads of a conversation, and from where on it looks at the log."""


async def find_own_messages(
    database: MongoDatabase, above: Sequence[tuple[ConversationId, int, UserId | None]]
) -> list[Document]:
    """Messages above a seq, of one sender or of all (None), as far as marks need them."""
    return await database.find_messages(*queries.own_messages(above))


async def find_marks(
    database: MongoDatabase, found: Mapping[ConversationId, Document], parts: Sequence[Part]
) -> dict[Part, ReadMark]:
    """The read marks of some participants, in conversations that were read with their newest message.

    Nobody has read beyond that message: one that came since is left out.
    """
    tails = {each: documents.load_tail(row) for each, row in found.items()}
    unfolded = [
        (conversation_id, tails[conversation_id].folded, user_id)
        for conversation_id, user_id in parts
        if tails[conversation_id].seq > tails[conversation_id].folded
    ]
    own: dict[ConversationId, list[Document]] = {}
    for row in await find_own_messages(database, unfolded) if unfolded else ():
        if row["seq"] <= tails[row["conversation"]].seq:
            own.setdefault(row["conversation"], []).append(row)
    marks = {each: documents.load_marks(row, own.get(each, ())) for each, row in found.items()}
    return {part: marks[part[0]][part[1]] for part in parts if part[1] in marks[part[0]]}


async def advance(database: MongoDatabase, calls: Sequence[Advance]) -> None:
    """Do these calls in their order, and leave a result or an error in each."""
    ids = list(dict.fromkeys(call.conversation_id for call in calls))
    wanted = dict.fromkeys((call.conversation_id, call.user_id) for call in calls)
    for attempt in range(ATTEMPTS):
        found = {row["_id"]: row for row in await database.aggregate_conversations(queries.with_last(ids))}
        marks = await find_marks(database, found, [part for part in wanted if part[0] in found])
        plan = plan_advances(calls, marks, {each: documents.load_tail(row).seq for each, row in found.items()})
        ahead = await _move(database, plan.moved, found) if plan.moved else {}
        if ahead is not None:
            plan = plan.overtaken(ahead)
            plan.settle(await count_uncounted(database, plan.above()), await _end_marked(database, plan, marks, found))
            return
        await pause(attempt)
    for call in calls:
        call.error = Overloaded(retry_after_ms=RETRY_AFTER_MS)


async def _end_marked(
    database: MongoDatabase,
    plan: AdvancePlan,
    marks: Mapping[Part, ReadMark],
    found: Mapping[ConversationId, Document],
) -> dict[Part, OwnSettings]:
    """End `marked_unread` of those who have read. A mark that moves has ended it by itself, one that was at the end
    already has not."""
    own = {part: documents.load_settings(found[part[0]], mark) for part, mark in marks.items()}
    ended = plan.ended({part: marks[part].read_seq for part, settings in own.items() if settings.marked_unread})
    if still := [part for part in ended if part not in plan.moved]:
        await database.set_settings([(part, {"marked_seq": None}) for part in still])
    return {part: replace(own[part], marked_unread=False) for part in ended}


async def count_uncounted(database: MongoDatabase, above: Iterable[Place]) -> dict[Place, int]:
    """How many messages above a seq of a conversation do not count; only where there are some."""
    wanted = dict.fromkeys(above)
    if not wanted:
        return {}
    lowest: dict[ConversationId, int] = {}
    for conversation_id, seq in wanted:
        lowest[conversation_id] = min(seq, lowest.get(conversation_id, seq))
    seqs: dict[ConversationId, list[int]] = {}
    for row in await database.find_messages(*queries.uncounted(lowest.items())):
        seqs.setdefault(row["conversation"], []).append(row["seq"])
    return {
        (conversation_id, seq): sum(each > seq for each in seqs[conversation_id])
        for conversation_id, seq in wanted
        if conversation_id in seqs
    }


async def count_mentions(
    database: MongoDatabase, user_id: UserId, above: Mapping[ConversationId, int]
) -> Counter[ConversationId]:
    """How many messages above a seq of each conversation mention a user."""
    if not above:
        return Counter()
    rows = await database.find_messages(*queries.mentions(user_id, above.items()))
    return Counter(row["conversation"] for row in rows)


async def _move(
    database: MongoDatabase, moved: Mapping[Part, ReadMark], found: Mapping[ConversationId, Document]
) -> dict[Part, ReadMark] | None:
    """Store read marks that are higher than what is stored.

    Returns: those that another process has raised further; None if people have come or gone meanwhile, so that some of
    the marks were not where they had been seen.
    """
    changes = []
    for (conversation_id, _), mark in moved.items():
        fields, whose = documents.mark_field(found[conversation_id], mark)
        changes.append(({"_id": conversation_id, **whose}, fields))
    if await database.raise_fields(changes) == len(changes):
        return {}
    ids = list({conversation_id for conversation_id, _ in moved})
    now = await database.find_conversations({"_id": {"$in": ids}}, {"participants": 1, "marks": 1})
    stored = {row["_id"]: documents.load_marks(row, ()) for row in now}
    current = {(each, user_id): stored.get(each, {}).get(user_id) for each, user_id in moved}
    ahead = {}
    for part, now_at in current.items():
        if now_at is None or now_at.read_seq < moved[part].read_seq:
            return None
        if now_at != moved[part]:
            ahead[part] = now_at
    return ahead


async def fold(database: MongoDatabase, conversation_id: ConversationId, seq: int) -> None:
    """Bring the stored read marks up to the senders' own messages, as far as this seq.

    Nothing depends on when, or whether, it happens.
    """
    found = await database.find_conversation({"_id": conversation_id}, {"participants": 1, "folded": 1, "rev": 1})
    assert found is not None
    own: dict[UserId, ReadMark] = {}
    for row in await find_own_messages(database, [(conversation_id, found["folded"], None)]):
        sender_id = row["sender"]
        if row["seq"] <= seq and (sender_id not in own or own[sender_id].read_seq < row["seq"]):
            own[sender_id] = ReadMark(sender_id, row["seq"], row["created_at_ms"])
    # A mark that has been raised further meanwhile stays.
    raised: Document = {"folded": seq}
    people = frozenset(found["participants"])
    for mark in own.values():
        if mark.user_id in people:
            raised |= documents.mark_field(found, mark)[0]
    await database.raise_fields([({"_id": conversation_id, "rev": found.get("rev")}, raised)])
