"""How messages get their numbers in the MongoDB store: the last one plus one, and the unique indexes decide.

Knows no driver: what it needs of the database are the four calls of `Log`. What it promises (no hole, one row per key,
the order of the calls, with several processes at the same conversation) rests on three habits. Rows are written in
order, up to the first refusal. Nothing remembered is trusted, because a number that is taken is refused by the index,
and a message that has moved on meanwhile is not found in the state that it was planned from. And a message that moves
keeps its earlier numbers taken for longer (documents.KEPT_MS) than anybody remembers where a conversation stands: else
who remembers would give out a number again that somebody has had and left.
Source: docs/decisions/0022-a-row-whose-number-moves.md
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol

from ...chat.domain import ConversationId
from ...errors import Overloaded
from ..writes import Alter, Key, Place
from . import documents
from .documents import Document, Move, Tail
from .plans import NamedAppend, Numbered, plan_writes

ATTEMPTS: Final = 12  # in a row that get nowhere; with the pauses between them a second or two
FOLD_AFTER: Final = 64  # messages of a conversation until its senders' read marks are brought up to date
RETRY_AFTER_MS: Final = 250
REMEMBERED_S: Final = 30.0  # far less than documents.KEPT_MS, so that clocks may differ
_TAILS: Final = 20_000  # conversations whose newest numbers are remembered


class Log(Protocol):
    """The database, as far as messages need it."""

    async def write_messages(self, writes: Sequence[Document | Move]) -> int:
        """Insert and change messages durably and in order, up to the first whose key or number is taken, or that is not
        in the state that is to be changed; how many are done."""

    async def find_places(self, places: Iterable[Place]) -> Sequence[Document]:
        """The durable messages at these places."""

    async def find_stored(self, keys: Iterable[Key]) -> Sequence[Document]:
        """The durable messages that have one of these keys."""

    async def find_last(self, ids: Sequence[ConversationId]) -> Sequence[Document]:
        """These conversations, each with its newest message, as `documents.load_tail` reads them."""


async def pause(attempt: int) -> None:
    """Let others go first, for a random time that grows with every try that got nowhere."""
    await asyncio.sleep(random.uniform(0, min(0.4, 0.005 * 2**attempt)))  # noqa: S311 - jitter


class Appender:
    """Appends and changes messages, many at once.

    Args:
        log: the database.
        fold: told of a conversation that has got many messages since its read marks were brought up to date.
        lost: told of every race that was lost.
        wait: waits before a try, given how many got nowhere.
        most_tails: conversations whose newest numbers are remembered.
        monotonic_s, now_ms: clocks.

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
        monotonic_s: Callable[[], float] = time.monotonic,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.races = 0
        self._log = log
        self._fold = fold
        self._lost = lost
        self._wait = wait
        self._most_tails = most_tails
        self._monotonic_s = monotonic_s
        self._now_ms = now_ms
        self._tails: dict[ConversationId, tuple[Tail, float]] = {}

    async def write(self, calls: Sequence[Numbered]) -> None:
        """Do these calls, in order within a conversation; no other may be under way for their conversations.

        Leaves a result or an error in each. Raises what the log raises: the outcome of the calls that are still open
        is then not known.
        """
        try:
            blocked: ConversationId | None = None
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

    async def _try(
        self, calls: Sequence[Numbered], blocked: ConversationId | None, attempt: int
    ) -> ConversationId | None:
        """Write the messages of these calls in one go, up to the first that is refused.

        Args:
            blocked: the conversation at which the try before stopped. Then every key is looked up first: where one was
                stored before, there may be more (a server that restarted is sent many repeats).
            attempt: how many tries in a row got nowhere.

        Returns: the conversation at which this try stopped.
        """
        originals: Mapping[Key, Document] = {}
        if blocked is not None:
            originals = await self._find_originals(calls)
            first = next(call for call in calls if call.draft.conversation_id == blocked)
            if not (isinstance(first, NamedAppend) and first.key in originals):
                # Another process was first, to a number or a message. (Or the row is not durable yet: then once more.)
                self.races += 1
                self._lost()
                await self._wait(attempt)
        started_s = self._monotonic_s()
        stored = await self._find_stored(calls)
        least = dict.fromkeys((call.draft.conversation_id for call in calls), 0)
        for (conversation_id, _), row in stored.items():
            least[conversation_id] = max(least[conversation_id], documents.load_change(row))
        tails = await self._find_tails(least, started_s)
        plan = plan_writes(calls, originals, stored, tails, self._now_ms())
        done = await self._log.write_messages(plan.writes) if plan.writes else 0
        for conversation_id, tail in plan.tails(done).items():
            self._remember(conversation_id, tail, started_s)
        refused = plan.settle(done)
        if refused is not None:
            # Somebody else has written to that conversation: what is remembered of it is out of date.
            self._tails.pop(refused, None)
        return refused

    async def _find_originals(self, calls: Sequence[Numbered]) -> dict[Key, Document]:
        keys = dict.fromkeys(call.key for call in calls if isinstance(call, NamedAppend))
        rows = await self._log.find_stored(keys) if keys else ()
        return {(row["conversation"], row["sender"], row["key"]): row for row in rows}

    async def _find_stored(self, calls: Sequence[Numbered]) -> dict[Place, Document]:
        places = dict.fromkeys(call.place for call in calls if isinstance(call, Alter))
        rows = await self._log.find_places(places) if places else ()
        return {(row["conversation"], row["seq"]): row for row in rows}

    async def _find_tails(self, least: Mapping[ConversationId, int], now_s: float) -> dict[ConversationId, Tail]:
        """Where conversations stand; each at least at a change that was seen: a message that moves must not be given a
        number of its own again, which no index would refuse."""
        tails: dict[ConversationId, Tail] = {}
        missing = []
        for each, change in least.items():
            tail, known_s = self._tails.get(each, (None, 0.0))
            if tail is None or tail.change < change or now_s - known_s > REMEMBERED_S:
                missing.append(each)
            else:
                tails[each] = tail
        if missing:
            for row in await self._log.find_last(missing):
                tail = documents.load_tail(row)
                tails[row["_id"]] = replace(tail, change=max(tail.change, least[row["_id"]]))
        return tails

    def _remember(self, conversation_id: ConversationId, tail: Tail, known_s: float) -> None:
        self._tails.pop(conversation_id, None)  # so that the oldest is the one that has not been written to longest
        self._tails[conversation_id] = tail, known_s
        if len(self._tails) > self._most_tails:
            del self._tails[next(iter(self._tails))]
        if tail.seq - tail.folded >= FOLD_AFTER:
            self._fold(conversation_id, tail.seq)

    def folded(self, conversation_id: ConversationId, seq: int) -> None:
        """The read marks of a conversation have been brought up to date, up to this seq."""
        tail, known_s = self._tails.get(conversation_id, (None, 0.0))
        if tail is not None:
            self._tails[conversation_id] = replace(tail, folded=max(seq, tail.folded)), known_s

    def forget(self) -> None:
        """Remember nothing of the database."""
        self._tails.clear()
