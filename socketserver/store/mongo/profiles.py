"""How users are shown, in MongoDB: a document a user, written only where it changes."""

from __future__ import annotations

from collections.abc import Sequence

from ..writes import SetProfile, plan_profiles
from . import documents, reads
from .database import MongoDatabase


async def set_profiles(database: MongoDatabase, calls: Sequence[SetProfile]) -> None:
    """Do these calls in their order, and leave a result in each.

    What is told is set field by field: of two processes that write at the same moment, each leaves what it says
    nothing of.
    """
    plan = plan_profiles(calls, await reads.get_profiles(database, [call.update.user_id for call in calls]))
    changes = [
        (call.update.user_id, documents.profile_fields(call.update)) for call, result in plan.results if result.changed
    ]
    if changes:
        await database.set_profiles(changes)
    plan.settle()
