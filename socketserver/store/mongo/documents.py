"""The shape of the MongoDB store's documents and indexes. Plain values: knows no driver and does no I/O.

Three collections. `conversations` has who takes part, the title and the read marks (people.py); `messages` is a log,
and the only thing that sending writes; `profiles` says how users are shown. What follows from the log is not stored a
second time beside it, because two documents cannot be written as one without transactions: a conversation's newest
numbers and its activity are those of its newest message, and a participant has read at least up to the newest message
of his own.
Source: docs/storage.md#mongodb
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from bson import ObjectId

from ...chat.domain import FROM_THE_START, UNTOUCHED, ConversationSummary, Message, ReadMark, UserId
from ...chat.identity import Profile, ProfileUpdate
from ...chat.own_settings import UNSETTLED, OwnSettings, SettingsUpdate
from ...errors import LimitExceeded
from ..encoding import dump_extra, dump_later, dump_metadata, int64, load_extra, load_later, load_metadata
from .people import load_conversation, load_entries

Document = dict[str, Any]

CONVERSATIONS: Final = "conversations"
MESSAGES: Final = "messages"
PROFILES: Final = "profiles"

DOCUMENT_BYTES: Final = 16 * 1024 * 1024 - 16 * 1024  # MongoDB's limit, less what surrounds the texts


@dataclass(frozen=True, slots=True)
class Index:
    """An index that must exist exactly so.

    Attributes:
        sparse: a document without the field is not in it. (Not a partial index on `$type: string`: MongoDB does not see
            that a search for a text may use it.)
        only: a field; documents in which it is not true are not in it.
    """

    collection: str
    name: str
    keys: tuple[str, ...]
    unique: bool = True
    sparse: bool = False
    only: str | None = None

    def options(self) -> Document:
        options: Document = {"name": self.name, "unique": self.unique, "sparse": self.sparse}
        if self.only is not None:
            del options["sparse"]  # not both, says MongoDB, whatever the value
            options["partialFilterExpression"] = {self.only: True}
        return options

    def fits(self, found: Mapping[str, Any]) -> bool:
        """Whether what the server lists under this name is this index."""
        return (
            list(found["key"].items()) == [(key, 1) for key in self.keys]
            and bool(found.get("unique", False)) == self.unique
            and bool(found.get("sparse", False)) == self.sparse
            and found.get("partialFilterExpression") == (None if self.only is None else {self.only: True})
        )


INDEXES: Final = (
    Index(CONVERSATIONS, "dedupe", ("dedupe",), sparse=True),
    Index(CONVERSATIONS, "participants", ("participants",), unique=False),
    Index(CONVERSATIONS, "activity", ("activity_at_ms",), unique=False),
    Index(MESSAGES, "seq", ("conversation", "seq")),
    Index(MESSAGES, "change", ("conversation", "change")),
    Index(MESSAGES, "key", ("conversation", "sender", "key")),
    Index(MESSAGES, "moved", ("conversation", "moved", "latest"), unique=False, only="moved"),
    Index(MESSAGES, "uncounted", ("conversation", "uncounted", "seq"), unique=False, only="uncounted"),
    Index(MESSAGES, "mentions", ("conversation", "mentioned", "mentions", "seq"), unique=False, only="mentioned"),
)

# For how long a number that a message has had stays taken, and how many of them one message may have. Nobody writes by
# what was true longer ago (appends.py).
KEPT_MS: Final = 90_000
KEPT_NUMBERS: Final = 4000


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


class Move(NamedTuple):
    """A message that goes on to another number: which document, in which state, and what becomes of it."""

    which: Document
    changes: Document


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


def mark_field(document: Mapping[str, Any], mark: ReadMark) -> tuple[Document, Document]:
    """The field of a conversation's document that holds a participant's mark, with this mark as its value; and the one
    that says whose it is, because people come and go.

    Marks compare by their first field, seq: under `$max` one that has been raised further stays.
    """
    place = bisect.bisect_left(document["participants"], mark.user_id)
    value = {"seq": mark.read_seq, "at_ms": mark.read_at_ms}
    return {f"marks.{place}": value}, {f"participants.{place}": mark.user_id}


def load_settings(document: Mapping[str, Any], mark: ReadMark) -> OwnSettings:
    """A participant's own settings; what was marked as unread is so until the read mark moves."""
    entry = next((each for each in document.get("settings", ()) if each["user"] == mark.user_id), None)
    if entry is None:
        return UNSETTLED
    return OwnSettings(
        entry.get("muted", False),
        entry.get("pinned", False),
        entry.get("archived", False),
        entry.get("marked_seq") == mark.read_seq,
    )


def settings_fields(update: SettingsUpdate, mark: ReadMark) -> Document:
    """The fields of a participant's entry that an update sets; the others stay what they are."""
    told = update.told
    if "marked_unread" in told:
        told["marked_seq"] = mark.read_seq if told.pop("marked_unread") else None
    return told


def load_tail(document: Mapping[str, Any]) -> Tail:
    """Of a conversation that was looked up with `queries.LAST`."""
    last = document.get("last")
    if last is not None:
        change = max(load_change(last), document.get("newest", {}).get("latest", 0))
        return Tail(last["seq"], change, last["activity_at_ms"], document["folded"])
    return Tail(0, 0, document.get("activity_at_ms", document["created_at_ms"]), document["folded"])


def load_summary(
    document: Mapping[str, Any], last: Mapping[str, Any] | None, mark: ReadMark, uncounted: int, unread_mentions: int
) -> ConversationSummary:
    """Of a conversation that was looked up with `queries.LAST`; `last` is the message to show."""
    tail = load_tail(document)
    return ConversationSummary(
        load_conversation(document),
        None if last is None else load_message(last),
        tail.seq,
        tail.change,
        mark.read_seq,
        tail.activity_at_ms,
        uncounted,
        unread_mentions,
        load_settings(document, mark),
        load_entries(document, {mark.user_id}).get(mark.user_id, FROM_THE_START).first_seq,
    )


def new_write() -> ObjectId:
    """A name for a call that makes a conversation."""
    return ObjectId()


def write_id(place_ms: int) -> ObjectId:
    """A name for a call that stores a message. They are in the order of activity, by seconds, and not of a clock that
    may go back: the newest activity of all is found among the last of them."""
    second = max(0, min(place_ms // 1000, 2**32 - 1))
    return ObjectId(second.to_bytes(4, "big") + ObjectId().binary[4:])


def dump_message(message: Message, metadata: str | None, activity_at_ms: int, write: object) -> Document:
    """`_id` names the call that stored the message, so that a repeated insert can tell its own row from another's."""
    document = {
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
    extra = dump_extra(message)
    if extra is not None:
        document["extra"] = extra
    if message.mentions:
        document |= _dump_mentions(message)
    if message.later is not UNTOUCHED:
        document |= _dump_later(message)
    elif not message.counts:
        document["uncounted"] = True
    return document


def dump_move(before: Mapping[str, Any], message: Message, at_ms: int) -> Move:
    """A message that goes on to the number of `message`.

    Its earlier numbers stay taken for a while, in the same field and so in the same unique index: somebody who has not
    heard of them yet must not get one a second time. They go in two steps, so that one time is enough to know when.
    """
    numbers, mark = load_numbers(before), before.get("taken")
    age_ms = at_ms - mark["at_ms"] if mark is not None else 0
    if mark is not None and age_ms >= KEPT_MS:
        numbers = [number for number in numbers if number > mark["number"]]
    if mark is None or abs(age_ms) >= KEPT_MS:  # or the clock of who set it was far ahead
        mark = {"at_ms": at_ms, "number": message.change}
    which = {"_id": before["_id"]}
    which |= {"latest": before["latest"]} if "latest" in before else {"change": before["change"], "latest": None}
    changes = {
        "body": message.body,
        "metadata": dump_metadata(message.metadata),
        "extra": dump_extra(message),
        **_dump_later(message),
        **(_dump_mentions(message) if message.mentions or before.get("mentioned") else {}),
        "change": [*numbers, message.change],
        "taken": mark,
    }
    return Move(which, changes)


def _dump_later(message: Message) -> Document:
    document: Document = {"later": dump_later(message.later)}
    if message.moved:
        document |= {"moved": True, "latest": message.change, "born": message.later.born}
    if not message.counts:
        document["uncounted"] = True
    return document


def _dump_mentions(message: Message) -> Document:
    """Beside `extra`, for the index; a message that mentions nobody, and never did, has nothing of it."""
    return {"mentioned": bool(message.mentions), "mentions": list(message.mentions)}


def load_message(document: Mapping[str, Any]) -> Message:
    later = document.get("later")
    reply_to, mentions, system = load_extra(document.get("extra"))
    return Message(
        document["id"],
        document["conversation"],
        document["seq"],
        load_change(document),
        document["sender"],
        document["key"],
        document["body"],
        load_metadata(document["metadata"]),
        document["created_at_ms"],
        reply_to,
        mentions,
        load_later(document.get("born"), later),
        system,
    )


def is_full(document: Mapping[str, Any], at_ms: int) -> bool:
    """Whether a message has had so many numbers lately that it can only be deleted."""
    return len(load_numbers(document)) >= KEPT_NUMBERS and at_ms - document["taken"]["at_ms"] < KEPT_MS


def load_numbers(document: Mapping[str, Any]) -> list[int]:
    """The change numbers that a message keeps taken, its present one among them."""
    numbers: int | list[int] = document["change"]
    return [numbers] if isinstance(numbers, int) else numbers


def load_change(document: Mapping[str, Any]) -> int:
    """A message's change number."""
    change: int = document["latest"] if "latest" in document else document["change"]
    return change


def load_born(document: Mapping[str, Any]) -> int:
    """The change number under which a message was created."""
    born: int = document["born"] if "born" in document else document["change"]
    return born


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
