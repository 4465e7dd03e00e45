"""A conversation's own document in MongoDB: its people, its title, and what is to be said of a change of them.

Plain values: knows no driver and does no I/O. The document is the authority, and is changed as one, from the `rev` that
the change was planned for. The message that says so is another document: it waits in `pending` until it is stored.
Source: docs/decisions/0024-people-and-title.md
"""

from __future__ import annotations

import bisect
from collections.abc import Collection, Mapping
from typing import Any, Final

from ...chat.domain import (
    Conversation,
    ConversationDraft,
    ConversationId,
    Entry,
    MessageDraft,
    MessageId,
    Role,
    UserId,
    first_roles,
)
from ..encoding import conversation_draft, dump_extra, dump_metadata, load_extra, load_metadata

Document = dict[str, Any]

FIELDS: Final = (
    "kind",
    "title",
    "created_by",
    "created_at_ms",
    "activity_at_ms",
    "participants",
    "folded",
    "metadata",
    "roles",
    "added",
    "rev",
    "dedupe",
    "pending",
)
"""All of a document but its marks, which are long."""


def dump_conversation(draft: ConversationDraft, write: object) -> Document:
    """A new conversation. `write` names the call that made it; marks are in the order of participants."""
    made = draft.made()
    document = {
        "_id": draft.id,
        "kind": draft.kind,
        "title": draft.title,
        "created_by": draft.created_by,
        "created_at_ms": draft.created_at_ms,
        "activity_at_ms": draft.place_ms,
        "participants": list(made.participant_ids),
        "marks": [_first_mark(made, user_id) for user_id in made.participant_ids],
        "folded": 0,
        "write": write,
        **_changing(made),
    }
    if draft.dedupe_key is not None:
        document["dedupe"] = draft.dedupe_key
    return document


def load_conversation(
    document: Mapping[str, Any], participants: int | None = None, *, reader: UserId | None = None
) -> Conversation:
    """With the first so many participants; None for all there are: a list's documents have only those, in `first`.

    Args:
        reader: whose role and entry are wanted too.
    """
    people: list[UserId] = document.get("first", document["participants"])[:participants]
    shown = frozenset(people) if reader is None else frozenset((*people, reader))
    return Conversation(
        document["_id"],
        document["kind"],
        document["title"],
        document["created_by"],
        tuple(people),
        document["created_at_ms"],
        document.get("count", len(document["participants"])),
        load_metadata(document.get("metadata")),
        {user_id: role for user_id, role in _load_roles(document).items() if user_id in shown},
        load_entries(document, shown),
        document.get("rev", 0),
    )


def load_entries(document: Mapping[str, Any], user_ids: Collection[UserId]) -> dict[UserId, Entry]:
    """Of those of some participants who were added later."""
    added = document.get("added") or ()
    return {each["user"]: Entry(each["since"], each["first"]) for each in added if each["user"] in user_ids}


def load_draft(document: Mapping[str, Any], activity_at_ms: int) -> ConversationDraft:
    """A conversation as it is, as what it is copied from."""
    return conversation_draft(load_conversation(document), document.get("dedupe"), activity_at_ms)


def dump_change(before: Mapping[str, Any], after: Conversation, said: MessageDraft | None) -> tuple[Document, Document]:
    """The change of a document: in which state it must be, and the stage of a pipeline that changes it.

    Marks move on meanwhile, so the stage takes them from wherever the document has them then; which is whose cannot
    have changed.

    Args:
        before: as it was read.
        said: the message that is to say so.
    """
    changes: Document = {"participants": list(after.participant_ids), **_changing(after)}
    if said is not None:
        changes["pending"] = _dump_pending(said)
    stage = {name: {"$literal": value} for name, value in changes.items()}
    stage["marks"] = {"$concatArrays": _marks(before, after) or [{"$literal": []}]}
    if settled := _gone(before, after):
        kept = {"$not": [{"$in": ["$$each.user", {"$literal": settled}]}]}
        stage["settings"] = {"$filter": {"input": {"$ifNull": ["$settings", []]}, "as": "each", "cond": kept}}
    return {"_id": before["_id"], "rev": before.get("rev")}, {"$set": stage}


def load_pending(document: Mapping[str, Any]) -> MessageDraft | None:
    """The message that is still to be stored."""
    pending = document.get("pending")
    if pending is None:
        return None
    return MessageDraft(
        MessageId(pending["id"]),
        ConversationId(document["_id"]),
        UserId(pending["sender"]),
        pending["key"],
        pending["body"],
        None,
        pending["created_at_ms"],
        pending["activity_at_ms"],
        system=load_extra(pending["extra"])[2],
    )


def _dump_pending(said: MessageDraft) -> Document:
    return {
        "id": said.id,
        "sender": said.sender_id,
        "key": said.idempotency_key,
        "body": said.body,
        "created_at_ms": said.created_at_ms,
        "activity_at_ms": said.place_ms,
        "extra": dump_extra(said),
    }


def _changing(conversation: Conversation) -> Document:
    """The fields that may change, but for the people."""
    return {
        "title": conversation.title,
        "metadata": dump_metadata(conversation.metadata),
        "roles": [{"user": user_id, "role": role} for user_id, role in conversation.roles.items()],
        "added": [
            {"user": user_id, "since": entry.since, "first": entry.first_seq}
            for user_id, entry in conversation.entries.items()
        ],
        "rev": conversation.rev,
    }


def _load_roles(document: Mapping[str, Any]) -> dict[UserId, Role]:
    if "roles" not in document:  # of an earlier version, whose people never changed
        return first_roles(document["kind"], document["created_by"])
    return {each["user"]: each["role"] for each in document["roles"]}


def _marks(before: Mapping[str, Any], after: Conversation) -> list[Document]:
    """The pieces of the list of marks: runs of those that stay, and those of who is new."""
    old: list[UserId] = before["participants"]
    entries = load_entries(before, frozenset(old))
    pieces: list[Document] = []
    start = length = 0
    for user_id in after.participant_ids:
        place = bisect.bisect_left(old, user_id)
        stays = place < len(old) and old[place] == user_id and entries.get(user_id) == after.entries.get(user_id)
        if stays and length and place == start + length:
            length += 1
            continue
        if length:
            pieces.append({"$slice": ["$marks", start, length]})
        start, length = place, int(stays)
        if not stays:
            pieces.append({"$literal": [_first_mark(after, user_id)]})
    if length:
        pieces.append({"$slice": ["$marks", start, length]})
    return pieces


def _gone(before: Mapping[str, Any], after: Conversation) -> list[UserId]:
    """Who has nothing more of their own, or starts anew."""
    entries = load_entries(before, frozenset(before["participants"]))
    return [
        user_id
        for user_id in before["participants"]
        if not after.has(user_id) or entries.get(user_id) != after.entries.get(user_id)
    ]


def _first_mark(conversation: Conversation, user_id: UserId) -> Document:
    return {"seq": conversation.entry(user_id).since - 1, "at_ms": None}
