"""What the stores share of writing: the calls as values, their answers, how many may wait, and what an outage is.

A store is what is left: its SQL or its documents, its connections, and which of its driver's errors mean what. A new
kind of write is one more class of `Call` here, and a statement or a document of each store. Knows no database.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from ..chat.changes import Change, Outcome
from ..chat.domain import Conversation, ConversationDraft, ConversationId, Message, MessageDraft, ReadMark, UserId
from ..chat.identity import Profile, ProfileUpdate
from ..chat.own_settings import OwnSettings, SettingsUpdate
from ..chat.people import ConversationChange, Decision, same_request
from ..chat.repeats import same_content, same_conversation
from ..errors import ConversationNotFound, IdempotencyConflict, InternalError, Overloaded, StoreUnavailable
from .base import StoreObserver
from .results import Appended, Changed, Created, ProfileSet, ReadAdvance, Reformed

T = TypeVar("T")

Part = tuple[ConversationId, UserId]
"""Somebody's part in a conversation."""

Key = tuple[ConversationId, UserId, str]
"""What makes two messages the same: conversation, sender and idempotency key."""

Place = tuple[ConversationId, int]
"""A message, by conversation and seq."""

# ----------------------------------------------------------------------------------------------------------- calls


@dataclass(slots=True, eq=False)
class Call(Generic[T]):
    """Something that a caller waits for, and what came of it: one of result and error, once it is done."""

    future: asyncio.Future[T]
    result: T | None = field(default=None, init=False)
    error: BaseException | None = field(default=None, init=False)

    @property
    def open(self) -> bool:
        """Whether nothing has come of it yet."""
        return self.result is None and self.error is None


@dataclass(slots=True, eq=False)
class Append(Call[Appended]):
    """append_message; `metadata` is the draft's, as JSON text."""

    draft: MessageDraft
    metadata: str | None

    @property
    def key(self) -> Key:
        return self.draft.conversation_id, self.draft.sender_id, self.draft.idempotency_key

    def repeat(self, original: Message, *, own: bool = False) -> None:
        """Answer with the message that has its key. `own`: this very call stored it, and lost the reply on the way."""
        if own or same_content(original, self.draft):
            self.result = Appended(original, duplicate=not own)
        else:
            self.error = IdempotencyConflict()


@dataclass(slots=True, eq=False)
class Alter(Call[Changed]):
    """change_message."""

    draft: Change

    @property
    def place(self) -> Place:
        """Which message it is about."""
        return self.draft.conversation_id, self.draft.seq

    def answer(self, outcome: Outcome, message: Message | None, before: Message | None = None) -> None:
        self.result = Changed(outcome, message, before)


@dataclass(slots=True, eq=False)
class Reform(Call[Reformed]):
    """change_conversation."""

    draft: ConversationChange

    @property
    def key(self) -> Key:
        return self.draft.conversation_id, self.draft.user_id, self.draft.key

    def repeat(self, original: Message, conversation: Conversation) -> None:
        """Answer with the message that has its key."""
        outcome = Outcome.DUPLICATE if same_request(original, self.draft) else Outcome.KEY_CONFLICT
        self.result = Reformed(outcome, conversation, original)

    def answer(self, decision: Decision, message: Message | None) -> None:
        """Answer with what was decided, and stored."""
        if decision.outcome is Outcome.NOT_FOUND:
            self.error = ConversationNotFound()
            return
        added, removed, roles = decision.added, decision.removed, decision.roles
        self.result = Reformed(decision.outcome, decision.conversation, message, added, removed, roles)


Numbered = Append | Alter | Reform
"""What takes a conversation's numbers, in the order of the calls."""


@dataclass(slots=True, eq=False)
class Create(Call[Created]):
    """create_conversation."""

    draft: ConversationDraft

    def repeat(self, original: Conversation, *, own: bool = False) -> None:
        """Answer with the conversation that has its key or its id. `own`: this very call stored it."""
        if same_conversation(original, self.draft):
            self.result = Created(original, duplicate=not own)
        else:
            self.error = IdempotencyConflict()


@dataclass(slots=True, eq=False)
class Advance(Call[ReadAdvance]):
    """advance_read."""

    conversation_id: ConversationId
    user_id: UserId
    seq: int
    at_ms: int

    def outcome(self, mark: ReadMark, last_seq: int) -> ReadAdvance:
        """What becomes of a mark: it moves up to the newest message at most, and never back."""
        seq = min(self.seq, last_seq)
        if seq <= mark.read_seq:
            return ReadAdvance(mark, last_seq, advanced=False)
        return ReadAdvance(ReadMark(self.user_id, seq, self.at_ms), last_seq, advanced=True)


@dataclass(slots=True, eq=False)
class SetProfile(Call[ProfileSet]):
    """set_profile."""

    update: ProfileUpdate


@dataclass(slots=True, eq=False)
class SetSettings(Call[OwnSettings]):
    """set_settings."""

    conversation_id: ConversationId
    user_id: UserId
    update: SettingsUpdate

    @property
    def part(self) -> Part:
        return self.conversation_id, self.user_id


Write = Append | Alter | Reform | Create | Advance | SetProfile | SetSettings


def settle(calls: Iterable[Call[Any]]) -> None:
    """Wake the callers, in the order of their calls; one that was cancelled meanwhile is passed over."""
    for call in calls:
        future = call.future
        if future.done():
            continue
        if call.error is None:
            future.set_result(call.result)
        else:
            future.set_exception(call.error)


# ------------------------------------------------------------------------------------------------------ read marks


@dataclass(frozen=True, slots=True)
class AdvancePlan:
    """What some calls of advance_read come to, one after the other.

    Attributes:
        moved: the marks to be stored, as the last of the calls leaves them.
        results: what each call is told, once they are stored.
    """

    moved: Mapping[Part, ReadMark]
    results: Sequence[tuple[Advance, ReadAdvance]]

    def above(self) -> Iterator[Place]:
        """The marks' seqs of all results: of what comes after them, it matters what does not count."""
        return ((call.conversation_id, result.mark.read_seq) for call, result in self.results)

    def overtaken(self, ahead: Mapping[Part, ReadMark]) -> AdvancePlan:
        """The plan where another process has raised these marks further meanwhile, perhaps to a message that came after
        this one looked for the newest."""
        results = []
        for call, result in self.results:
            mark = ahead.get((call.conversation_id, call.user_id))
            if mark is not None:
                result = ReadAdvance(mark, max(result.last_seq, mark.read_seq), advanced=False)
            results.append((call, result))
        return AdvancePlan(self.moved, results)

    def ended(self, marked: Mapping[Part, int]) -> set[Part]:
        """Those who have read again what they had marked as unread.

        Args:
            marked: those who had, and up to where they had read.
        """
        calls = ((call, (call.conversation_id, call.user_id)) for call, _ in self.results)
        return {part for call, part in calls if part in marked and call.seq >= marked[part]}

    def settle(self, uncounted: Mapping[Place, int], unmarked: Mapping[Part, OwnSettings]) -> None:
        """Leave a result in each call, with how many messages after its mark do not count.

        Args:
            unmarked: the settings of those for whom `marked_unread` has ended; the first call of each is told.
        """
        ended = dict(unmarked)
        for call, result in self.results:
            count = uncounted.get((call.conversation_id, result.mark.read_seq), 0)
            settings = ended.pop((call.conversation_id, call.user_id), None) if ended else None
            call.result = replace(result, uncounted=count, unmarked=settings) if count or settings else result


def plan_advances(
    calls: Sequence[Advance], marks: Mapping[Part, ReadMark], last_seqs: Mapping[ConversationId, int]
) -> AdvancePlan:
    """Plan calls in their order. One that has no mark is refused: nobody of that name takes part there.

    Args:
        marks: what is stored.
        last_seqs: the newest seq of each conversation that has one of the marks.
    """
    moved: dict[Part, ReadMark] = {}
    results = []
    for call in calls:
        part = call.conversation_id, call.user_id
        mark = moved.get(part) or marks.get(part)
        if mark is None:
            call.error = ConversationNotFound()
            continue
        result = call.outcome(mark, last_seqs[call.conversation_id])
        if result.advanced:
            moved[part] = result.mark
        results.append((call, result))
    return AdvancePlan(moved, results)


# -------------------------------------------------------------------------------------------------------- profiles


@dataclass(frozen=True, slots=True)
class ProfilePlan:
    """What some calls of set_profile come to, one after the other.

    Attributes:
        changed: the profiles to be stored, as the last of the calls leaves them.
        results: what each call is told, once they are stored.
    """

    changed: Mapping[UserId, Profile]
    results: Sequence[tuple[SetProfile, ProfileSet]]

    def settle(self) -> None:
        """Leave a result in each call."""
        for call, result in self.results:
            call.result = result


def plan_profiles(calls: Sequence[SetProfile], stored: Iterable[Profile]) -> ProfilePlan:
    """Plan calls in their order.

    Args:
        stored: the profiles that their users have.
    """
    profiles = {profile.user_id: profile for profile in stored}
    changed: dict[UserId, Profile] = {}
    results = []
    for call in calls:
        user_id = call.update.user_id
        before = profiles.get(user_id)
        profile = call.update.onto(before)
        if profile != before:
            profiles[user_id] = changed[user_id] = profile
        results.append((call, ProfileSet(profile, changed=profile != before)))
    return ProfilePlan(changed, results)


# --------------------------------------------------------------------------------------------- admission, outages


class Admission:
    """Refuses a write when too many are waiting.

    Args:
        most: writes that may wait or be under way.
        retry_after_ms: when to come back, given how many are waiting.

    Attributes:
        waiting: how many are; whoever takes calls in and answers them keeps it up to date.
    """

    def __init__(self, most: int, retry_after_ms: Callable[[int], int]) -> None:
        self.waiting = 0
        self._most = most
        self._retry_after_ms = retry_after_ms

    def check(self) -> None:
        """Raises: Overloaded, if one more may not come in."""
        if self.waiting >= self._most:
            raise Overloaded(retry_after_ms=self._retry_after_ms(self.waiting))


class Outages:
    """Whether the database can be used. Says in the log when that changes, and tells the observer of every failure.

    Args:
        log: where it is said.
        lost, back: that the database is away (with the error in place of %s), and that it can be used again.
    """

    def __init__(self, log: logging.Logger, observer: StoreObserver, *, lost: str, back: str) -> None:
        self.away = False
        self._log = log
        self._observer = observer
        self._lost = lost
        self._back = back

    def failed(self, error: BaseException, *, away: bool = True) -> bool:
        """Note a failure. `away`: others would fail too. Returns: whether that is news."""
        self._observer.failed()
        if self.away:
            return False
        self.away = away
        self._log.warning(self._lost, error)
        return away

    def over(self) -> None:
        """Note that the database can be used."""
        if self.away:
            self.away = False
            self._log.info(self._back)


class Unobserved:
    """A store's observer where nobody watches."""

    def committed(self, writes: int, seconds: float) -> None: ...
    def retried(self) -> None: ...
    def failed(self) -> None: ...
    def log_size(self, size_bytes: int) -> None: ...


def unavailable(error: BaseException) -> StoreUnavailable:
    """What a caller is told of an outage: no address and no detail, which are for the log."""
    told = StoreUnavailable()
    told.__cause__ = error
    return told


def broken(error: BaseException) -> InternalError:
    """What a caller is told of a bug, which is for the log too."""
    told = InternalError()
    told.__cause__ = error
    return told
