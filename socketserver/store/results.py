"""What the methods of a store return: values of one moment, as base.py promises them. Knows neither a driver nor the
wire."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..chat.changes import Outcome
from ..chat.domain import Conversation, ConversationSummary, Gap, Message, ReadMark, Role, UserId
from ..chat.identity import Profile
from ..chat.own_settings import UNSETTLED, OwnSettings


@dataclass(frozen=True, slots=True)
class Created:
    """`duplicate`: the conversation existed already, and nothing was written."""

    conversation: Conversation
    duplicate: bool


@dataclass(frozen=True, slots=True)
class Appended:
    """`duplicate`: the message was stored by an earlier call, and nothing was written."""

    message: Message
    duplicate: bool


@dataclass(frozen=True, slots=True)
class Changed:
    """What came of a change.

    Attributes:
        message: as it is then; None if there is no such message.
        before: as it was stored before, for the first of the calls that have changed it in one commit.
    """

    outcome: Outcome
    message: Message | None
    before: Message | None = None


@dataclass(frozen=True, slots=True)
class Reformed:
    """What came of a change of a conversation.

    Attributes:
        outcome: as of a `people.Decision`; DUPLICATE for what an earlier call did; KEY_CONFLICT.
        conversation: as it is then, with everybody.
        message: the one that says so; None where nothing was done, or needs no message.
        added, removed, roles: what this call did, as in a Decision.
    """

    outcome: Outcome
    conversation: Conversation
    message: Message | None = None
    added: tuple[UserId, ...] = ()
    removed: tuple[UserId, ...] = ()
    roles: Mapping[UserId, Role] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A conversation at one moment.

    Attributes:
        read_marks: one per participant, in the order of `conversation.participant_ids`, or those of them that were
            asked for.
        messages: in seq order.
        last_seq, change: the newest numbers at that moment; 0 while it is empty. Everything up to `change` is either in
            `messages`, or in `updates`, or in `gap`, or was known to the caller, or is older than the page.
        gap: what lies between the caller's `after` and the first message, if not everything fitted.
        updates: messages created up to the caller's `after` and changed since, in the order of `change`.
        updates_through: the change up to which `updates` has them all, if not everything fitted; else None.
        uncounted: how many messages after the reader's mark do not count as unread.
        unread_mentions: how many after it mention the reader.
        settings: the reader's own.
    """

    conversation: Conversation
    read_marks: tuple[ReadMark, ...]
    messages: tuple[Message, ...]
    last_seq: int
    change: int
    gap: Gap | None
    updates: tuple[Message, ...] = ()
    updates_through: int | None = None
    uncounted: int = 0
    unread_mentions: int = 0
    settings: OwnSettings = UNSETTLED


@dataclass(frozen=True, slots=True)
class MessagePage:
    """Messages in seq order; `has_more` says whether there are more in the direction that was asked for."""

    messages: tuple[Message, ...]
    has_more: bool


@dataclass(frozen=True, slots=True)
class ChangePage:
    """Messages in the order of `change`.

    Attributes:
        through: the change up to which everything after the caller's is here: go on from there.
        has_more: there may be more after it. Then the page may be short, or empty.
    """

    messages: tuple[Message, ...]
    through: int
    has_more: bool


@dataclass(frozen=True, slots=True)
class ReadMarkPage:
    """Participants' read marks in the order of their user ids; `has_more`: there are participants after them."""

    marks: tuple[ReadMark, ...]
    has_more: bool


@dataclass(frozen=True, slots=True)
class ConversationPage:
    """Summaries, most recent activity first (then by id, descending).

    Attributes:
        has_more: older ones exist.
        unread: in how many of all the user's conversations there is something unread; None for a page that is not the
            first.
    """

    summaries: tuple[ConversationSummary, ...]
    has_more: bool
    unread: int | None = None


@dataclass(frozen=True, slots=True)
class ReadAdvance:
    """A participant's read mark after a call, and the conversation's newest seq at that moment.

    Attributes:
        advanced: this call moved the mark.
        uncounted: how many messages after it do not count as unread.
        unmarked: the participant's settings, if this call ended `marked_unread`; else None.
    """

    mark: ReadMark
    last_seq: int
    advanced: bool
    uncounted: int = 0
    unmarked: OwnSettings | None = None

    @property
    def unread_count(self) -> int:
        """How many messages the participant has not read."""
        return self.last_seq - self.mark.read_seq - self.uncounted


@dataclass(frozen=True, slots=True)
class ProfileSet:
    """A user's profile after a call. `changed`: this call has written it; it was not there, or another one was."""

    profile: Profile
    changed: bool


@dataclass(frozen=True, slots=True)
class Counts:
    """How much a store holds."""

    conversations: int
    messages: int
    profiles: int = 0
