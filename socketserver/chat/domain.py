"""The words of a chat as values: ids, conversations, messages, read marks, and the rules that hold between them.

Pure: no I/O, no asyncio, no clock of its own (times come in as UTC milliseconds), no knowledge of the wire or of a
database. Everything here is immutable and may be shared between tasks and threads.
"""

from __future__ import annotations

import bisect
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NewType, Protocol

from .own_settings import UNSETTLED, OwnSettings

UserId = NewType("UserId", str)
ConversationId = NewType("ConversationId", str)
MessageId = NewType("MessageId", str)

ConversationKind = Literal["direct", "group"]
Role = Literal["owner", "admin", "member"]
SystemType = Literal["added", "removed", "left", "role", "title"]


class Clock(Protocol):
    """Where times come from, so that tests can set them."""

    def now_ms(self) -> int:
        """UTC wall-clock time in milliseconds since 1970; may jump."""

    def monotonic_s(self) -> float:
        """Seconds since some fixed moment; never goes back."""


class SystemClock:
    """The machine's own clocks."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        return time.monotonic()


def new_id() -> str:
    """A new identifier: 32 hexadecimal digits, 128 random bits of the system's. No id tells anything of another."""
    return os.urandom(16).hex()


@dataclass(frozen=True, slots=True)
class Entry:
    """When somebody came into a conversation that there was already.

    Attributes:
        since: the seq from which on it concerns them: what came before was never unread for them.
        first_seq: the first message that they may see; at most `since`.
    """

    since: int = 1
    first_seq: int = 1


FROM_THE_START: Final = Entry()


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation without its messages, as it is at one moment.

    Attributes:
        participant_ids: all of them, sorted; in a list of conversations, the first few. The texts are shared with other
            conversations, so that a participant costs a pointer.
        participant_count: how many there are.
        metadata: a JSON object that the server keeps and hands on without looking into it, or None.
        roles: of those participants who are more than members. A direct conversation has none.
        entries: of those participants who were added later.
        rev: how often its people, its title or its metadata have changed.
        hides_below: every message from this seq on may be seen by everybody here.
    """

    id: ConversationId
    kind: ConversationKind
    title: str | None
    created_by: UserId
    participant_ids: tuple[UserId, ...]
    created_at_ms: int
    participant_count: int = 0  # 0: as many as there are ids
    metadata: dict[str, Any] | None = field(default=None, hash=False)
    roles: Mapping[UserId, Role] = field(default_factory=dict, hash=False)
    entries: Mapping[UserId, Entry] = field(default_factory=dict, hash=False)
    rev: int = 0
    hides_below: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "participant_ids", tuple(map(sys.intern, self.participant_ids)))
        object.__setattr__(self, "hides_below", max((each.first_seq for each in self.entries.values()), default=1))
        if not self.participant_count:
            object.__setattr__(self, "participant_count", len(self.participant_ids))

    def has(self, user_id: UserId) -> bool:
        """Whether the user takes part; of a conversation with all its ids."""
        place = bisect.bisect_left(self.participant_ids, user_id)
        return place < len(self.participant_ids) and self.participant_ids[place] == user_id

    def role(self, user_id: UserId) -> Role:
        """What a participant may do here."""
        return self.roles.get(user_id, "member")

    def entry(self, user_id: UserId) -> Entry:
        """When a participant came into it."""
        return self.entries.get(user_id, FROM_THE_START)

    def shows(self, user_id: UserId, seq: int) -> bool:
        """Whether a participant may see a message."""
        return seq >= self.hides_below or seq >= self.entry(user_id).first_seq

    def blind_to(self, seq: int) -> list[UserId]:
        """Who may not see a message."""
        if seq >= self.hides_below:
            return []
        return [user_id for user_id, entry in self.entries.items() if seq < entry.first_seq]


@dataclass(frozen=True, slots=True)
class ConversationDraft:
    """A conversation that somebody wants to exist.

    Attributes:
        dedupe_key: two drafts with the same key mean the same conversation; None for one that is always new.
            Made by `repeats.conversation_dedupe_key`.
        activity_at_ms: its place in lists (`activity.py`); None for created_at_ms.
        metadata, roles, entries, rev: of one that is copied, as of a Conversation; roles None: the creator of a group
            is its owner.
    """

    id: ConversationId
    kind: ConversationKind
    title: str | None
    created_by: UserId
    participant_ids: tuple[UserId, ...]
    created_at_ms: int
    dedupe_key: str | None
    activity_at_ms: int | None = field(default=None, compare=False)
    metadata: dict[str, Any] | None = None
    roles: Mapping[UserId, Role] | None = None
    entries: Mapping[UserId, Entry] = field(default_factory=dict)
    rev: int = 0

    @property
    def place_ms(self) -> int:
        """Its place in lists of conversations."""
        return self.created_at_ms if self.activity_at_ms is None else self.activity_at_ms

    def made(self) -> Conversation:
        """The conversation that it becomes."""
        return Conversation(
            self.id,
            self.kind,
            self.title,
            self.created_by,
            self.participant_ids,
            self.created_at_ms,
            0,
            self.metadata,
            first_roles(self.kind, self.created_by) if self.roles is None else self.roles,
            self.entries,
            self.rev,
        )


@dataclass(frozen=True, slots=True)
class System:
    """What happened to a conversation itself, as one of its messages says it.

    Attributes:
        user_ids: whom it happened to.
        role: which role they have got, where that is what happened, or is more than that of a member.
        title: the new one; None where it is gone, or is not what changed.
    """

    type: SystemType
    user_ids: tuple[UserId, ...] = ()
    role: Role | None = None
    title: str | None = None


@dataclass(frozen=True, slots=True)
class Reaction:
    """A reaction, and who has reacted so, oldest first."""

    reaction: str
    user_ids: tuple[UserId, ...]


@dataclass(frozen=True, slots=True)
class Later:
    """What has happened to a message since it was sent.

    Attributes:
        born: its change number when it was created; 0 while that is its number still.
        edited_at_ms, edit_key: of the last edit: when, and its author's name for it; None if there was none.
        deleted_at_ms, deleted_by: of a deletion.
        reactions: oldest first, none of them empty.
    """

    born: int = 0
    edited_at_ms: int | None = None
    edit_key: str | None = None
    deleted_at_ms: int | None = None
    deleted_by: UserId | None = None
    reactions: tuple[Reaction, ...] = ()


UNTOUCHED: Final = Later()


@dataclass(frozen=True, slots=True)
class Message:
    """One stored message, as it is now.

    Attributes:
        seq: position in the conversation: 1, 2, 3, … without a hole.
        change: the number of the conversation's newest change that touched it: when it was created, or edited, or
            deleted, or reacted to. Dense from 1 as they are given out, and the cursor to resume from.
        idempotency_key: the sender's own name for the message; unique per conversation and sender, for ever.
        body: empty once it is deleted.
        metadata: a JSON object that the server keeps and hands on without looking into it, or None.
        reply_to: the seq of the message that it answers.
        mentions: users whom it names, each once.
        system: what happened to the conversation, in a message that the server wrote; the sender did it.
    """

    id: MessageId
    conversation_id: ConversationId
    seq: int
    change: int
    sender_id: UserId
    idempotency_key: str
    body: str
    metadata: dict[str, Any] | None
    created_at_ms: int
    reply_to: int | None = None
    mentions: tuple[UserId, ...] = ()
    later: Later = UNTOUCHED
    system: System | None = None

    @property
    def born(self) -> int:
        """Its change number when it was created."""
        return self.later.born or self.change

    @property
    def moved(self) -> bool:
        """Whether it has another change number than the one that it was created under."""
        return self.later.born != 0

    @property
    def deleted(self) -> bool:
        """Whether only its tombstone is left."""
        return self.later.deleted_at_ms is not None

    @property
    def counts(self) -> bool:
        """Whether it counts as unread for whoever has not read it."""
        return self.system is None and not self.deleted


@dataclass(frozen=True, slots=True)
class MessageDraft:
    """A message that somebody wants stored; the store gives it its numbers.

    Attributes:
        activity_at_ms: its conversation's place in lists from then on (`activity.py`); None for created_at_ms.
    """

    id: MessageId
    conversation_id: ConversationId
    sender_id: UserId
    idempotency_key: str
    body: str
    metadata: dict[str, Any] | None
    created_at_ms: int
    activity_at_ms: int | None = field(default=None, compare=False)
    reply_to: int | None = None
    mentions: tuple[UserId, ...] = ()
    system: System | None = None

    @property
    def place_ms(self) -> int:
        """The place in lists that it gives its conversation."""
        return self.created_at_ms if self.activity_at_ms is None else self.activity_at_ms

    def numbered(self, seq: int, change: int) -> Message:
        """The message that it becomes under these numbers."""
        return Message(
            self.id,
            self.conversation_id,
            seq,
            change,
            self.sender_id,
            self.idempotency_key,
            self.body,
            self.metadata,
            self.created_at_ms,
            self.reply_to,
            self.mentions,
            UNTOUCHED,
            self.system,
        )


@dataclass(frozen=True, slots=True)
class ReadMark:
    """Up to which seq a participant has read; 0 and None before the first time."""

    user_id: UserId
    read_seq: int = 0
    read_at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class ConversationSummary:
    """A conversation as one participant's list shows it.

    Attributes:
        last_message: the newest one that counts, None while there is none.
        last_seq, last_change: the conversation's newest numbers, 0 while it is empty.
        read_seq: this participant's read mark.
        uncounted: how many messages after the mark do not count as unread.
        unread_mentions: how many after it mention this participant.
        activity_at_ms: when the last message came, or when the conversation was created, by a clock that never goes
            back; the list's order.
        settings: this participant's own.
        first_seq: the first message that this participant may see.
    """

    conversation: Conversation
    last_message: Message | None
    last_seq: int
    last_change: int
    read_seq: int
    activity_at_ms: int
    uncounted: int = 0
    unread_mentions: int = 0
    settings: OwnSettings = UNSETTLED
    first_seq: int = 1

    @property
    def unread_count(self) -> int:
        """How many messages this participant has not read."""
        return self.last_seq - self.read_seq - self.uncounted


@dataclass(frozen=True, slots=True)
class Gap:
    """Messages that a page left out, both ends included."""

    from_seq: int
    to_seq: int


def participants(creator: UserId, others: Sequence[UserId]) -> tuple[UserId, ...]:
    """Everybody in a conversation, each once, sorted: the creator and the others."""
    return tuple(sorted({creator, *others}))


def conversation_kind(participant_ids: Sequence[UserId], title: str | None) -> ConversationKind:
    """Two people without a title are a direct conversation; all else is a group."""
    return "direct" if len(participant_ids) == 2 and title is None else "group"


def first_roles(kind: ConversationKind, created_by: UserId) -> dict[UserId, Role]:
    """Who is more than a member of a new conversation: the creator of a group is its owner."""
    return {created_by: "owner"} if kind == "group" else {}
