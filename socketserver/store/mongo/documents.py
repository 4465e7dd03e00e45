"""The shape of the MongoDB store's documents and indexes. Plain values: knows no driver and does no I/O.

Three collections. `conversations` has what never changes of one, and its read marks; `messages` is a log, and the only
thing that sending writes; `profiles` says how users are shown. What follows from the log is not stored a second time
beside it, because two documents cannot be written as one without transactions: a conversation's newest numbers and its
activity are those of its newest message, and a participant has read at least up to the newest message of his own.
Source: docs/storage.md#mongodb
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bson import ObjectId

from ...chat.domain import (
    Conversation,
    ConversationDraft,
    ConversationSummary,
    Message,
    MessageDraft,
    Profile,
    ProfileUpdate,
    ReadMark,
    UserId,
)
from ...errors import LimitExceeded
from ..encoding import int64, load_metadata

Document = dict[str, Any]

CONVERSATIONS: Final = "conversations"
MESSAGES: Final = "messages"
PROFILES: Final = "profiles"

DOCUMENT_BYTES: Final = 16 * 1024 * 1024 - 16 * 1024  # MongoDB's limit, less what surrounds the texts


@dataclass(frozen=True, slots=True)
class Index:
    """An index that must exist exactly so. `sparse`: a document without the field is not in it.

    (Not a partial index on `$type: string`: MongoDB does not see that a search for a text may use it.)
    """

    collection: str
    name: str
    keys: tuple[str, ...]
    unique: bool = True
    sparse: bool = False

    def options(self) -> Document:
        return {"name": self.name, "unique": self.unique, "sparse": self.sparse}

    def fits(self, found: Mapping[str, Any]) -> bool:
        """Whether what the server lists under this name is this index."""
        return (
            list(found["key"].items()) == [(key, 1) for key in self.keys]
            and bool(found.get("unique", False)) == self.unique
            and bool(found.get("sparse", False)) == self.sparse
            and "partialFilterExpression" not in found
        )


INDEXES: Final = (
    Index(CONVERSATIONS, "dedupe", ("dedupe",), sparse=True),
    Index(CONVERSATIONS, "participants", ("participants",), unique=False),
    Index(CONVERSATIONS, "activity", ("activity_at_ms",), unique=False),
    Index(MESSAGES, "seq", ("conversation", "seq")),
    Index(MESSAGES, "change", ("conversation", "change")),
    Index(MESSAGES, "key", ("conversation", "sender", "key")),
)


@dataclass(frozen=True, slots=True)
class Tail:
    """Where a conversation's log ends.

    Attributes:
        activity_at_ms: the latest activity of all its messages, or of its creation. Each message carries it, so that
            the newest message tells it: whoever writes number n has seen number n - 1.
        folded: up to which seq the senders' own messages are in the stored read marks.
    """

    seq: int
    change: int
    activity_at_ms: int
    folded: int

    def after(self, draft: MessageDraft) -> Tail:
        return Tail(self.seq + 1, self.change + 1, max(self.activity_at_ms, draft.place_ms), self.folded)


def dump_conversation(draft: ConversationDraft, write: object) -> Document:
    """A new conversation. `write` names the call that made it; marks are in the order of participants."""
    document = {
        "_id": draft.id,
        "kind": draft.kind,
        "title": draft.title,
        "created_by": draft.created_by,
        "created_at_ms": draft.created_at_ms,
        "activity_at_ms": draft.place_ms,
        "participants": list(draft.participant_ids),
        "marks": [{"seq": 0, "at_ms": None} for _ in draft.participant_ids],
        "folded": 0,
        "write": write,
    }
    if draft.dedupe_key is not None:
        document["dedupe"] = draft.dedupe_key
    return document


def load_conversation(document: Mapping[str, Any], participants: int | None = None) -> Conversation:
    """With the first so many participants; None for all there are: a list's documents have only those, in `first`."""
    return Conversation(
        document["_id"],
        document["kind"],
        document["title"],
        document["created_by"],
        tuple(document.get("first", document["participants"])[:participants]),
        document["created_at_ms"],
        document.get("count", len(document["participants"])),
    )


def load_conversation_draft(document: Mapping[str, Any]) -> ConversationDraft:
    """Of a conversation that was looked up with `queries.LAST`."""
    each = load_conversation(document)
    return ConversationDraft(
        each.id,
        each.kind,
        each.title,
        each.created_by,
        each.participant_ids,
        each.created_at_ms,
        document.get("dedupe"),
        load_tail(document).activity_at_ms,
    )


def load_marks(document: Mapping[str, Any], tail: Iterable[Mapping[str, Any]]) -> dict[UserId, ReadMark]:
    """Everybody's read mark: what is stored, raised by their own messages since it was `folded`."""
    marks = {
        user_id: ReadMark(user_id, mark["seq"], mark["at_ms"])
        for user_id, mark in zip(document["participants"], document["marks"], strict=True)
    }
    for message in tail:
        mark = marks.get(message["sender"])
        if mark is not None and mark.read_seq < message["seq"]:
            marks[mark.user_id] = ReadMark(mark.user_id, message["seq"], message["created_at_ms"])
    return marks


def mark_field(document: Mapping[str, Any], mark: ReadMark) -> Document:
    """The field of a conversation's document that holds a participant's mark, with this mark as its value.

    Marks compare by their first field, seq: under `$max` one that has been raised further stays.
    """
    place = bisect.bisect_left(document["participants"], mark.user_id)
    return {f"marks.{place}": {"seq": mark.read_seq, "at_ms": mark.read_at_ms}}


def load_tail(document: Mapping[str, Any]) -> Tail:
    """Of a conversation that was looked up with `queries.LAST`."""
    last = document.get("last")
    if last is not None:
        return Tail(last["seq"], last["change"], last["activity_at_ms"], document["folded"])
    return Tail(0, 0, document.get("activity_at_ms", document["created_at_ms"]), document["folded"])


def load_summary(document: Mapping[str, Any], mark: ReadMark) -> ConversationSummary:
    tail = load_tail(document)
    return ConversationSummary(
        load_conversation(document),
        load_message(document["last"]) if "last" in document else None,
        tail.seq,
        tail.change,
        mark.read_seq,
        tail.activity_at_ms,
    )


def new_write() -> ObjectId:
    """A name for a call that makes a conversation."""
    return ObjectId()


def write_id(draft: MessageDraft) -> ObjectId:
    """A name for a call that stores a message. They are in the order of activity, by seconds, and not of a clock that
    may go back: the newest activity of all is found among the last of them."""
    second = max(0, min(draft.place_ms // 1000, 2**32 - 1))
    return ObjectId(second.to_bytes(4, "big") + ObjectId().binary[4:])


def dump_message(message: Message, metadata: str | None, activity_at_ms: int, write: object) -> Document:
    """`_id` names the call that stored the message, so that a repeated insert can tell its own row from another's."""
    return {
        "_id": write,
        "id": message.id,
        "conversation": message.conversation_id,
        "seq": message.seq,
        "change": message.change,
        "sender": message.sender_id,
        "key": message.idempotency_key,
        "body": message.body,
        "metadata": metadata,
        "created_at_ms": message.created_at_ms,
        "activity_at_ms": activity_at_ms,
    }


def load_message(document: Mapping[str, Any]) -> Message:
    return Message(
        document["id"],
        document["conversation"],
        document["seq"],
        document["change"],
        document["sender"],
        document["key"],
        document["body"],
        load_metadata(document["metadata"]),
        document["created_at_ms"],
    )


def load_profile(document: Mapping[str, Any]) -> Profile:
    return Profile(document["_id"], document.get("name"), document.get("avatar"))


def profile_fields(update: ProfileUpdate) -> Document:
    """The fields of a profile's document that an update sets; the others stay what they are."""
    told = {"name": update.name, "avatar": update.avatar}
    return {field: text or None for field, text in told.items() if text is not None}


def check_value(*texts: str | None, at_ms: int = 0) -> None:
    """Refuse what BSON cannot hold before it shares a round trip with others.

    Raises: ValueError; LimitExceeded for more than a document's 16 MiB.
    """
    size = 0
    for text in texts:
        if text is not None:
            try:
                size += len(text) if text.isascii() else len(text.encode())
            except UnicodeEncodeError as error:
                raise ValueError(f"The store cannot hold this value: {error}") from error
    if size > DOCUMENT_BYTES:
        raise LimitExceeded("The message is larger than the store can hold.")
    if int64(at_ms) != at_ms:
        raise ValueError("The store cannot hold this value: a time beyond 64 bits")
