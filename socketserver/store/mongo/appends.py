"""How messages get their numbers in the MongoDB store: the last one plus one, and the unique indexes decide.

Knows no driver: what it needs of the database are the three calls of `Log`. What it promises (no hole, one row per key,
the order of the calls, with several processes at the same conversation) rests on two habits: rows are inserted in order
and stop at the first refusal, and nothing remembered is trusted, because a stale number is refused by the index.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol

from ...chat.domain import ConversationId
from ...errors import Overloaded
from . import documents
from .documents import Document, Tail
from .plans import Key, NamedAppend, plan_appends

ATTEMPTS: Final = 12  # in a row that get nowhere; with the pauses between them a second or two
FOLD_AFTER: Final = 64  # messages of a conversation until its senders' read marks are brought up to date
RETRY_AFTER_MS: Final = 250
_TAILS: Final = 20_000  # conversations whose newest numbers are remembered


class Log(Protocol):
    """The database, as far as appending needs it."""

    async def insert_messages(self, rows: Sequence[Document]) -> int:
        """Insert messages durably and in order, up to the first whose key or number is taken; how many are stored."""

    async def find_stored(self, keys: Iterable[Key]) -> Sequence[Document]:
        """The durable messages that have one of these keys."""

    async def find_last(self, ids: Sequence[ConversationId]) -> Sequence[Document]:
        """These conversations, each with its newest message, as `documents.load_tail` reads them."""


async def pause(attempt: int) -> None:
    """Let others go first, for a random time that grows with every try that got nowhere."""
    await asyncio.sleep(random.uniform(0, min(0.4, 0.005 * 2**attempt)))  # noqa: S311 - jitter


class Appender:
    """Appends messages, many at once.

    Args:
        log: the database.
        fold: told of a conversation that has got many messages since its read marks were brought up to date.
        lost: told of every race that was lost.
        wait: waits before a try, given how many got nowhere.
        most_tails: conversations whose newest numbers are remembered.

    Attributes:
        races: how often another process took a number first.
    """

    def __init__(
        self,
        log: Log,
        fold: Callable[[ConversationId, int], None],
        lost: Callable[[], None] = lambda: None,
        *,
        wait: Callable[[int], Awaitable[None]] = pause,
        most_tails: int = _TAILS,
    ) -> None:
        self.races = 0
        self._log = log
        self._fold = fold
        self._lost = lost
        self._wait = wait
        self._most_tails = most_tails
        self._tails: dict[ConversationId, Tail] = {}

    async def append(self, calls: Sequence[NamedAppend]) -> None:
        """Do these calls, in order within a conversation; no other may be under way for their conversations.

        Leaves a result or an error in each. Raises what the log raises: the outcome of the calls that are still open
        is then not known.
        """
        try:
            blocked: NamedAppend | None = None
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

    async def _try(self, calls: Sequence[NamedAppend], blocked: NamedAppend | None, attempt: int) -> NamedAppend | None:
        """Insert the messages of these calls in one go, up to the first that meets a key or a number that is taken.

        Args:
            blocked: the call at which the try before stopped. Then every key is looked up first: where one was
                stored before, there may be more (a server that restarted is sent many repeats).
            attempt: how many tries in a row got nowhere.

        Returns: the call at which this try stopped.
        """
        stored: Mapping[Key, Document] = {}
        if blocked is not None:
            stored = await self._find_stored(calls)
            if blocked.key not in stored:
                # It was the number: another process was first. (Or the row is not durable yet: then once more.)
                self.races += 1
                self._lost()
                await self._wait(attempt)
        tails = await self._find_tails(dict.fromkeys(call.draft.conversation_id for call in calls))
        plan = plan_appends(calls, stored, tails)
        done = await self._log.insert_messages(plan.rows()) if plan.inserts else 0
        for conversation_id, tail in plan.tails(done).items():
            self._remember(conversation_id, tail)
        refused = plan.settle(done)
        if refused is not None:
            # Somebody else has written to that conversation: what is remembered of it is out of date.
            self._tails.pop(refused.draft.conversation_id, None)
        return refused

    async def _find_stored(self, calls: Sequence[NamedAppend]) -> dict[Key, Document]:
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
        if len(self._tails) > self._most_tails:
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
