"""What has happened, as values, and who is told of it.

The use cases tell one Receiver of everything that was stored. The fan-out is one; whoever else must know (metrics, a
webhook, a push service, another node) is another, beside it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from .domain import Conversation, ConversationId, Message, ReadMark, Role, UserId
from .identity import Profile
from .own_settings import OwnSettings

log = logging.getLogger(__name__)


class News:
    """Something that has happened. What belongs to one use case only may stand beside it."""

    __slots__ = ()


@dataclass(slots=True)
class MessageCreated(News):
    """A message is stored.

    Attributes:
        duplicate: it was stored and announced before; told again, as the first time may have been lost in a crash.
        received_s: when the request came, in seconds of `time.perf_counter`.
        sender: how the sender is shown; None where that is not known.
        wire: the message in the form that goes out, kept here by whoever makes it first: it is made once for all
            receivers and for the ack.
    """

    conversation: Conversation
    message: Message
    duplicate: bool
    received_s: float = 0.0
    sender: Profile | None = field(default=None, compare=False)
    wire: Any = field(default=None, compare=False, repr=False)


@dataclass(slots=True)
class MessageUpdated(News):
    """A message was edited or deleted, or somebody reacted to it; several such changes may be one piece of news.

    Attributes:
        message: as it is now.
        duplicate: it was so, and was announced, before; told again for the same reason.
        wire: as in MessageCreated.
    """

    conversation: Conversation
    message: Message
    duplicate: bool
    wire: Any = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ConversationCreated(News):
    """A conversation is stored.

    Attributes:
        people: how the first of its participants are shown, as `profiles.Profiles.find` tells.
    """

    conversation: Conversation
    people: Mapping[UserId, Profile | None] = field(default_factory=dict)


@dataclass(slots=True)
class PeopleChanged(News):
    """People were added to a conversation or removed, a role or the title was changed; it has a message that says so.

    Attributes:
        conversation: as it is then, or later.
        added, removed, roles: who has come and gone, and who has got which role by it.
        activity_at_ms: the conversation's place in lists by it; None if it was told before.
        duplicate: it was so, and was announced, before; told again, as the first time may have been lost in a crash.
        people: how those are shown whom a list names, and who was added; nobody if nobody was.
        wire: as in MessageCreated.
    """

    conversation: Conversation
    message: Message
    added: tuple[UserId, ...] = ()
    removed: tuple[UserId, ...] = ()
    roles: Mapping[UserId, Role] = field(default_factory=dict)
    activity_at_ms: int | None = None
    duplicate: bool = False
    people: Mapping[UserId, Profile | None] = field(default_factory=dict)
    wire: Any = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class PeopleKnown(News):
    """It has become known who takes part in a conversation, and that may be others than before. Who does not any more
    is told nothing of it from now on. What was changed is told to the others in its order, as PeopleChanged.

    Attributes:
        gone: who took part as far as was known, and does not.
        left: which of them has left by themselves.
    """

    conversation: Conversation
    gone: tuple[UserId, ...] = ()
    left: UserId | None = None


@dataclass(frozen=True, slots=True)
class MentionsChanged:
    """Whom a message mentions that it did not before, and the other way round; not both empty."""

    seq: int
    added: tuple[UserId, ...]
    removed: tuple[UserId, ...]


@dataclass(frozen=True, slots=True)
class ConversationUpdated(News):
    """What lists show of a conversation has changed, other than by a new message.

    Attributes:
        preview: whether the message that lists show is another one, or has another text: it is `last_message` now.
        last_message: None where none is left that counts.
        uncounted_seq: of a message that counts as unread no more; told once.
        sender: how the sender of `last_message` is shown; None where that is not known.
        mentions: whom a message mentions anew, and whom no longer; told once.
        change: the number of the message's change by which it is so; None for people, title and metadata.
    """

    conversation: Conversation
    preview: bool = False
    last_message: Message | None = None
    uncounted_seq: int | None = None
    sender: Profile | None = None
    mentions: MentionsChanged | None = None
    change: int | None = None

    def about(self) -> list[int]:
        """The seqs of the messages of which it tells, ascending."""
        seqs = {self.uncounted_seq}
        if self.last_message is not None:
            seqs.add(self.last_message.seq)
        if self.mentions is not None:
            seqs.add(self.mentions.seq)
        return sorted(seq for seq in seqs if seq is not None)


@dataclass(frozen=True, slots=True)
class MessagesRead(News):
    """A participant's read mark moved."""

    conversation: Conversation
    mark: ReadMark


@dataclass(frozen=True, slots=True)
class SettingsChanged(News):
    """A participant has settled something for himself, or has read what was marked as unread."""

    conversation_id: ConversationId
    user_id: UserId
    settings: OwnSettings


@dataclass(frozen=True, slots=True)
class ProfileChanged(News):
    """A user is shown in another way from now on, or has come for the first time."""

    profile: Profile


class Receiver(Protocol):
    """Whoever wants to know. What it is told is stored already, and whoever misses it finds it in the store.

    Of one conversation, new messages and changes of old ones come in the order of `change`; a repeat may come at any
    time.
    """

    def receive(self, news: News) -> None:
        """Take a piece of news. Never waits."""


class Receivers:
    """Several receivers as one. Each is told in its turn; what one of them raises is logged, and costs the others
    nothing."""

    def __init__(self, receivers: Sequence[Receiver]) -> None:
        self._receivers = tuple(receivers)

    def receive(self, news: News) -> None:
        """Tell everybody."""
        for receiver in self._receivers:
            try:
                receiver.receive(news)
            except Exception:
                log.exception("%s could not be announced by %s", type(news).__name__, type(receiver).__name__)
