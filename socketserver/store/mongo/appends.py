"""How messages get their numbers in the MongoDB store: the last one plus one, and the unique indexes decide.

Knows no driver: what it needs of the database are the three calls of `Log`. What it promises (no hole, one row per key,
the order of the calls, with several processes at the same conversation) rests on two habits: rows are inserted in order
and stop at the first refusal, and nothing remembered is trusted, because a stale number is refused by the index.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, Protocol, TypeVar

from ...chat.domain import ConversationId, Message, MessageDraft, UserId, same_content
from ...errors import ConversationNotFound, IdempotencyConflict, Overloaded
from ..base import Appended
from . import documents
from .documents import Document, Tail

T = TypeVar("T")

Key = tuple[ConversationId, UserId, str]

ATTEMPTS: Final = 12  # in a row that get nowhere; with the pauses between them a second or two
FOLD_AFTER: Final = 64  # messages of a conversation until its senders' read marks are brought up to date
RETRY_AFTER_MS: Final = 250
_TAILS: Final = 20_000  # conversations whose newest numbers are remembered


@dataclass(slots=True, eq=False)
class Call(Generic[T]):
    """A write that a caller waits for, and what came of it."""

    future: asyncio.Future[T]
    result: T | None = field(default=None, init=False)
    error: BaseException | None = field(default=None, init=False)

    @property
    def open(self) -> bool:
        return self.result is None and self.error is None


@dataclass(slots=True, eq=False)
class Append(Call[Appended]):
    """A call of append_message.

    Attributes:
        metadata: the draft's, as JSON text.
        write: the `_id` of what this call inserts: a row that has it is this call's own.
    """

    draft: MessageDraft
    metadata: str | None
    write: object

    @property
    def key(self) -> Key:
        return self.draft.conversation_id, self.draft.sender_id, self.draft.idempotency_key


class Log(Protocol):
    """The database, as far as appending needs it."""

    async def insert(self, rows: Sequence[Document]) -> int:
        """Insert messages durably and in order, up to the first whose key or number is taken; how many are stored."""

    async def find_stored(self, keys: Iterable[Key]) -> Sequence[Document]:
        """The durable messages that have one of these keys."""

    async def find_last(self, ids: Sequence[ConversationId]) -> Sequence[Document]:
        """These conversations, each with its newest message, as `documents.load_tail` reads them."""


class Appender:
    """Appends messages, many at once.

    Args:
        log: the database.
        fold: told of a conversation that has got many messages since its read marks were brought up to date.
        lost: told of every race that was lost.

    Attributes:
        races: how often another process took a number first.
    """

    def __init__(
        self, log: Log, fold: Callable[[ConversationId, int], None], lost: Callable[[], None] = lambda: None
    ) -> None:
        self.races = 0
        self._log = log
        self._fold = fold
        self._lost = lost
        self._tails: dict[ConversationId, Tail] = {}

    async def append(self, calls: Sequence[Append]) -> None:
        """Do these calls, in order within a conversation; no other may be under way for their conversations.

        Leaves a result or an error in each. Raises what the log raises: the outcome of the calls that are still open
        is then not known.
        """
        try:
            blocked: Append | None = None
            attempt = 0
            while attempt < ATTEMPTS:
                left = len(calls)
                blocked = await self._try(calls, blocked, attempt)
                calls = [call for call in calls if call.open]
                if not calls:
                    return
                attempt = 0 if len(calls) < left else attempt + 1
            for call in calls:
                call.error = Overloaded(retry_after_ms=RETRY_AFTER_MS)
        except BaseException:
            for call in calls:
                self._tails.pop(call.draft.conversation_id, None)
            raise

    async def _try(self, calls: Sequence[Append], blocked: Append | None, attempt: int) -> Append | None:
        """Insert the messages of these calls in one go, up to the first that meets a key or a number that is taken.

        Args:
            blocked: the call at which the try before stopped. Then every key is looked up first: where one was
                stored before, there may be more (a server that restarted is sent many repeats).
            attempt: how many tries in a row got nowhere.

        Returns: the call at which this try stopped.
        """
        stored: dict[Key, Document] = {}
        if blocked is not None:
            stored = await self._find_stored(calls)
            if blocked.key not in stored:
                # It was the number: another process was first. (Or the row is not durable yet: then once more.)
                self.races += 1
                self._lost()
                await pause(attempt)
        tails = await self._find_tails(dict.fromkeys(call.draft.conversation_id for call in calls))
        first: dict[Key, Append] = {}
        inserts: list[tuple[Append, Message, Tail]] = []
        for call in calls:
            draft = call.draft
            if (original := stored.get(call.key)) is not None:
                _settle_repeat(call, documents.load_message(original), own=original["_id"] == call.write)
            elif (tail := tails.get(draft.conversation_id)) is None:
                call.error = ConversationNotFound()
            elif first.setdefault(call.key, call) is call:  # a repeat among these waits for the first
                tail = tails[draft.conversation_id] = tail.after(draft)
                inserts.append((call, _numbered(draft, tail), tail))
        done = 0
        if inserts:
            done = await self._log.insert(
                [
                    documents.dump_message(message, call.metadata, tail.activity_at_ms, call.write)
                    for call, message, tail in inserts
                ]
            )
        for call, message, tail in inserts[:done]:
            call.result = Appended(message, duplicate=False)
            self._remember(message.conversation_id, tail)
        for call in calls:
            if call.open and (earlier := first[call.key]).result is not None:
                _settle_repeat(call, earlier.result.message, own=False)
        if done == len(inserts):
            return None
        # Somebody else has written to that conversation: what is remembered of it is out of date.
        blocked = inserts[done][0]
        self._tails.pop(blocked.draft.conversation_id, None)
        return blocked

    async def _find_stored(self, calls: Sequence[Append]) -> dict[Key, Document]:
        rows = await self._log.find_stored(dict.fromkeys(call.key for call in calls))
        return {(row["conversation"], row["sender"], row["key"]): row for row in rows}

    async def _find_tails(self, ids: Iterable[ConversationId]) -> dict[ConversationId, Tail]:
        tails = {each: self._tails[each] for each in ids if each in self._tails}
        missing = [each for each in ids if each not in tails]
        if missing:
            tails.update((row["_id"], documents.load_tail(row)) for row in await self._log.find_last(missing))
        return tails

    def _remember(self, conversation_id: ConversationId, tail: Tail) -> None:
        self._tails.pop(conversation_id, None)  # so that the oldest is the one that has not been written to longest
        self._tails[conversation_id] = tail
        if len(self._tails) > _TAILS:
            del self._tails[next(iter(self._tails))]
        if tail.seq - tail.folded >= FOLD_AFTER:
            self._fold(conversation_id, tail.seq)

    def folded(self, conversation_id: ConversationId, seq: int) -> None:
        """The read marks of a conversation have been brought up to date, up to this seq."""
        tail = self._tails.get(conversation_id)
        if tail is not None:
            self._tails[conversation_id] = Tail(tail.seq, tail.change, tail.activity_at_ms, max(seq, tail.folded))

    def forget(self) -> None:
        """Remember nothing of the database."""
        self._tails.clear()


async def pause(attempt: int) -> None:
    """Let others go first, for a random time that grows with every try that got nowhere."""
    await asyncio.sleep(random.uniform(0, min(0.4, 0.005 * 2**attempt)))  # noqa: S311 - jitter


def _numbered(draft: MessageDraft, tail: Tail) -> Message:
    return Message(
        draft.id,
        draft.conversation_id,
        tail.seq,
        tail.change,
        draft.sender_id,
        draft.idempotency_key,
        draft.body,
        draft.metadata,
        draft.created_at_ms,
    )


def _settle_repeat(call: Append, original: Message, *, own: bool) -> None:
    """Answer a call whose key is stored. `own`: by this very call, whose reply was lost on the way."""
    if own or same_content(original, call.draft):
        call.result = Appended(original, duplicate=not own)
    else:
        call.error = IdempotencyConflict()
