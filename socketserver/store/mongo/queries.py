"""The MongoDB store's filters and pipelines, each beside what it is for. Plain values: knows no driver and does no I/O.

Every one goes through an index; tests/contract/test_store_plans.py asks the database for the plan of each.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from ...chat.domain import ConversationId, UserId
from ..encoding import int64
from .documents import MESSAGES, Document
from .people import FIELDS

_COUNTED: Final[Document] = {"$match": {"uncounted": {"$ne": True}}}


def _one_of_each(name: str, *stages: Document) -> list[Document]:
    """Stages over conversations: one message of each, in the field `name` if there is one."""
    lookup = {
        "from": MESSAGES,
        "localField": "_id",
        "foreignField": "conversation",
        "pipeline": [*stages, {"$limit": 1}],
        "as": name,
    }
    return [{"$lookup": lookup}, {"$unwind": {"path": f"${name}", "preserveNullAndEmptyArrays": True}}]


# The newest message of each conversation, in `last`: a seek in the index `seq` for each. And the one that moved last,
# in `newest`: a seek in the index `moved`; one of the two has the conversation's newest change.
LAST: Final[Sequence[Document]] = (
    *_one_of_each("last", {"$sort": {"seq": -1}}),
    *_one_of_each("newest", {"$match": {"moved": True}}, {"$sort": {"latest": -1}}, {"$project": {"latest": 1}}),
)

_MARK_FIELDS: Final = {"_id": 0, "conversation": 1, "sender": 1, "seq": 1, "created_at_ms": 1}


def with_last(ids: Sequence[ConversationId], *fields: str) -> list[Document]:
    """Pipeline over conversations: these, each with its newest message; without fields, all of them."""
    stages: list[Document] = [{"$match": {"_id": {"$in": list(ids)}}}]
    if fields:
        stages.append({"$project": dict.fromkeys(fields, 1)})
    return [*stages, *LAST]


def page_of_conversations(
    user_id: UserId, limit: int, before: tuple[int, ConversationId] | None, participants: int | None
) -> list[Document]:
    """Pipeline over conversations: a page of a user's list.

    Of a thousand participants come `count`, the `first` few, and the user's own mark.
    """
    own = {"$indexOfArray": ["$participants", {"$literal": user_id}]}
    mine = {"$eq": ["$$this.user", {"$literal": user_id}]}
    shown: Document = {
        "count": {"$size": "$participants"},
        "first": "$participants" if participants is None else {"$slice": ["$participants", participants]},
        "participants": [{"$literal": user_id}],
        "marks": {"$slice": ["$marks", own, 1]},
        "settings": {"$filter": {"input": {"$ifNull": ["$settings", []]}, "as": "this", "cond": mine}},
    }
    kept = dict.fromkeys(FIELDS, 1)
    del kept["participants"], kept["pending"], kept["dedupe"]
    stages: list[Document] = [
        {"$match": {"participants": user_id}},
        {"$project": {**kept, **shown}},
        *LAST,
        {
            "$set": {
                "activity": {"$ifNull": ["$last.activity_at_ms", {"$ifNull": ["$activity_at_ms", "$created_at_ms"]}]}
            }
        },
    ]
    if before is not None:
        at_ms, conversation_id = int64(before[0]), before[1]
        same = {"activity": at_ms, "_id": {"$lt": conversation_id}}
        stages.append({"$match": {"$or": [{"activity": {"$lt": at_ms}}, same]}})
    return [*stages, {"$sort": {"activity": -1, "_id": -1}}, {"$limit": limit + 1}]


def unread_conversations(user_id: UserId) -> list[Document]:
    """Pipeline over conversations: in how many of a user's there is something unread, as `unread`; no row for none.

    Who has written at or after the newest message that counts has read everything: that one, or one of the few after it
    that do not count. For all others that user's own messages do not matter: they are older than the newest that
    counts, and so the stored mark alone tells.
    """
    own = {"$indexOfArray": ["$participants", {"$literal": user_id}]}
    return [
        {"$match": {"participants": user_id}},
        {"$project": {"mark": {"$arrayElemAt": ["$marks", own]}}},
        *_one_of_each("counted", _COUNTED, {"$sort": {"seq": -1}}),
        *_one_of_each("own", {"$match": {"uncounted": True, "sender": user_id}}, {"$sort": {"seq": -1}}),
        {
            "$match": {
                "counted.seq": {"$gt": 0},  # there is a message
                "counted.sender": {"$ne": user_id},
                "$expr": {
                    "$and": [
                        {"$lt": ["$mark.seq", "$counted.seq"]},
                        {"$lt": [{"$ifNull": ["$own.seq", 0]}, "$counted.seq"]},
                    ]
                },
            }
        },
        {"$count": "unread"},
    ]


def page_of_drafts(after: ConversationId | None, limit: int, only: ConversationId | None = None) -> list[Document]:
    """Pipeline over conversations: all of them by id, each with its newest message; those after one, or only one."""
    which: Document = {} if after is None else {"_id": {"$gt": after}}
    if only is not None:
        which = {"_id": only}
    return [{"$match": which}, {"$sort": {"_id": 1}}, {"$limit": limit}, {"$unset": "marks"}, *LAST]


def own_messages(above: Iterable[tuple[ConversationId, int, UserId | None]]) -> tuple[Document, Document]:
    """Filter and projection over messages: those above a seq, of one sender or of all, as far as marks need them."""
    clauses: list[Document] = []
    for conversation_id, seq, sender_id in above:
        clause: Document = {"conversation": conversation_id, "seq": {"$gt": seq}}
        if sender_id is not None:
            clause["sender"] = sender_id
        clauses.append(clause)
    return either(clauses), _MARK_FIELDS


def last_counted(ids: Sequence[ConversationId]) -> list[Document]:
    """Pipeline over conversations: these, each with its newest message that counts, in `last`."""
    counted = _one_of_each("last", _COUNTED, {"$sort": {"seq": -1}})
    return [{"$match": {"_id": {"$in": list(ids)}}}, {"$project": {"_id": 1}}, *counted]


def uncounted(above: Iterable[tuple[ConversationId, int]]) -> tuple[Document, Document]:
    """Filter and projection over messages: those that do not count above a seq."""
    clauses: list[Document] = [{"conversation": c, "uncounted": True, "seq": {"$gt": int64(seq)}} for c, seq in above]
    return either(clauses), {"_id": 0, "conversation": 1, "seq": 1}


def mentions(user_id: UserId, above: Iterable[tuple[ConversationId, int]]) -> tuple[Document, Document]:
    """Filter and projection over messages: those that mention a user above a seq."""
    who = {"mentioned": True, "mentions": user_id}
    clauses: list[Document] = [{"conversation": c, **who, "seq": {"$gt": int64(seq)}} for c, seq in above]
    return either(clauses), {"_id": 0, "conversation": 1}


def places(wanted: Iterable[tuple[ConversationId, int]]) -> Document:
    """Filter over messages: those at these places."""
    seqs: dict[ConversationId, list[int]] = {}
    for conversation_id, seq in wanted:
        seqs.setdefault(conversation_id, []).append(int64(seq))
    return either([{"conversation": each, "seq": {"$in": own}} for each, own in seqs.items()])


def stored_keys(keys: Iterable[tuple[ConversationId, UserId, str]]) -> Document:
    """Filter over messages: those with one of these idempotency keys; a seek in the index `key` for each."""
    return either([{"conversation": c, "sender": s, "key": k} for c, s, k in keys])


def either(clauses: Sequence[Document]) -> Document:
    """One filter out of several; a single one stays plain."""
    return clauses[0] if len(clauses) == 1 else {"$or": list(clauses)}
