"""What participants settle for themselves, in MongoDB: an entry each in the conversation's document, once there is
something. So it ends with the participant, in one write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from ...chat.domain import ConversationId, UserId
from ...chat.own_settings import UNSETTLED, OwnSettings
from ...errors import ConversationNotFound
from ..writes import Part, SetSettings
from . import documents, queries
from .database import MongoDatabase
from .documents import Document
from .marks import find_marks

_FIELDS: Final = ("created_at_ms", "folded", "participants", "marks", "settings")


async def set_settings(database: MongoDatabase, calls: Sequence[SetSettings]) -> None:
    """Do these calls in their order, and leave a result or an error in each.

    What is told is set field by field: of two processes that write at the same moment, each leaves what it says
    nothing of.
    """
    found = await _find(database, calls)
    parts = list(dict.fromkeys(call.part for call in calls))
    marks = await find_marks(database, found, [part for part in parts if part[0] in found])
    fields: dict[Part, Document] = {}
    for call in calls:
        if call.part in marks:
            fields.setdefault(call.part, {}).update(documents.settings_fields(call.update, marks[call.part]))
    told = [(part, set_) for part, set_ in fields.items() if set_]
    if told:
        await database.set_settings(told)
        found = await _find(database, calls)
    for call in calls:
        row = found.get(call.conversation_id)
        if row is None or call.part not in marks or call.user_id not in row["participants"]:
            call.error = ConversationNotFound()
        else:
            call.result = documents.load_settings(row, marks[call.part])


async def list_settings(database: MongoDatabase, conversation_id: ConversationId) -> dict[UserId, OwnSettings]:
    rows = await database.aggregate_conversations(queries.with_last([conversation_id], *_FIELDS))
    if not rows:
        return {}
    (row,) = rows
    parts = [(conversation_id, each["user"]) for each in row.get("settings", ())]
    marks = await find_marks(database, {conversation_id: row}, parts)
    own = {user_id: documents.load_settings(row, mark) for (_, user_id), mark in marks.items()}
    return {user_id: settings for user_id, settings in own.items() if settings != UNSETTLED}


async def _find(database: MongoDatabase, calls: Sequence[SetSettings]) -> Mapping[ConversationId, Document]:
    ids = list(dict.fromkeys(call.conversation_id for call in calls))
    return {row["_id"]: row for row in await database.aggregate_conversations(queries.with_last(ids, *_FIELDS))}
