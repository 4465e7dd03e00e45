"""Everything from one store into another: for a team that started on SQLite and grows to MongoDB, or the way back.

Writes through the Store Protocol, so that ids, numbers, keys and times come out as they went in, and what was copied
before is a repeat: an interrupted copy is simply started again. Nobody else may write to either store meanwhile.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from ..chat.domain import Conversation, ConversationDraft, ConversationId, Message, ReadMark, UserId
from ..chat.identity import Profile, ProfileUpdate
from ..chat.own_settings import OwnSettings, SettingsUpdate
from ..errors import IdempotencyConflict
from .base import Copyable, Store
from .results import Counts

_PAGE: Final = 500  # messages, conversations or profiles at a time
_AT_ONCE: Final = 8  # conversations; most are short, and a round trip each would be the whole time


_Work = Callable[[ConversationDraft, Callable[[int], None]], Coroutine[Any, Any, None]]


class CopyError(Exception):
    """The copy cannot be what the original is; one sentence for the operator says why."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a copy is.

    Attributes:
        step: 'copy', then 'verify'.
        done, total: messages.
    """

    step: str
    done: int
    total: int

    def bar(self, width: int = 40) -> str:
        """One line for a terminal: `copy   [#####.....] 1,200 of 2,400 messages`."""
        filled = width if self.total == 0 else min(width, width * self.done // self.total)
        return f"{self.step:<6} [{'#' * filled}{'.' * (width - filled)}] {self.done:,} of {self.total:,} messages"


async def copy_store(source: Copyable, target: Copyable, progress: Callable[[Progress], None]) -> Counts:
    """Copy profiles, conversations, messages and read marks, then read both stores again and compare every one.

    Both are open. What the target has already must come from an earlier copy of the same source.
    Returns: what the target holds now.
    Raises: CopyError; StoreUnavailable and Overloaded, after which it can be started again.
    """
    total = (await source.count()).messages
    async for page in _profiles(source):
        await asyncio.gather(*(target.set_profile(_update(profile)) for profile in page))
    await _each(source, "copy", total, progress, lambda draft, report: _copy(source, target, draft, report))
    await _each(source, "verify", total, progress, lambda draft, report: _verify(source, target, draft, report))
    async for page in _profiles(source):
        found = await target.get_profiles([profile.user_id for profile in page])
        if set(found) != set(page):
            raise CopyError("The profiles of users differ between source and target.")
    here, there = await source.count(), await target.count()
    if here != there:
        raise CopyError(f"The source has {_say(here)} and the target {_say(there)}.")
    return there


async def _copy(source: Copyable, target: Copyable, draft: ConversationDraft, report: Callable[[int], None]) -> None:
    try:
        await target.copy_conversation(draft)
    except IdempotencyConflict:
        raise CopyError(_foreign(draft)) from None
    known = await target.list_messages(draft.id, limit=1)
    last = known.messages[0].seq if known.messages else 0
    report(last)
    async for page in _pages(source, draft.id, after=last):
        try:
            await target.copy_messages(page, draft.place_ms)
        except IdempotencyConflict:
            raise CopyError(_foreign(draft)) from None
        report(len(page))
    for mark in await _marks(source, draft.id):
        if mark.read_seq:
            await target.advance_read(draft.id, mark.user_id, mark.read_seq, mark.read_at_ms or 0)
    for user_id, settings in (await source.list_settings(draft.id)).items():  # after the marks, which would end some
        await target.set_settings(draft.id, user_id, SettingsUpdate(**asdict(settings)))


async def _verify(source: Copyable, target: Copyable, draft: ConversationDraft, report: Callable[[int], None]) -> None:
    sums = [await _checksum(store, draft.id) for store in (source, target)]
    if sums[0][0] != sums[1][0]:
        raise CopyError(f"The conversation {draft.id!r} differs between source and target.")
    report(sums[0][1])


async def _checksum(store: Copyable, conversation_id: ConversationId) -> tuple[str, int]:
    """A conversation, its messages, its read marks and what participants have settled as one number, and how many
    messages there are."""
    digest = hashlib.sha256(_canonical(await store.get_conversation(conversation_id)))
    count = 0
    async for page in _pages(store, conversation_id, after=0):
        for message in page:
            digest.update(_canonical(message))
        count += len(page)
    for mark in await _marks(store, conversation_id):
        digest.update(_canonical(mark))
    for user_id, settings in sorted((await store.list_settings(conversation_id)).items()):
        digest.update(user_id.encode() + _canonical(settings))
    return digest.hexdigest(), count


def _canonical(value: Conversation | Message | ReadMark | OwnSettings | None) -> bytes:
    return json.dumps(None if value is None else asdict(value), sort_keys=True).encode()


async def _pages(store: Store, conversation_id: ConversationId, *, after: int) -> AsyncIterator[tuple[Message, ...]]:
    while True:
        page = await store.list_messages(conversation_id, after_seq=after, limit=_PAGE)
        if page.messages:
            yield page.messages
            after = page.messages[-1].seq
        if not page.has_more:
            return


async def _profiles(store: Copyable) -> AsyncIterator[Sequence[Profile]]:
    after: UserId | None = None
    while page := await store.list_profiles(after=after, limit=_PAGE):
        yield page
        after = page[-1].user_id


async def _marks(store: Store, conversation_id: ConversationId) -> tuple[ReadMark, ...]:
    snapshot = await store.get_snapshot(conversation_id, after=None, limit=1)
    return () if snapshot is None else snapshot.read_marks


async def _drafts(store: Copyable) -> AsyncIterator[ConversationDraft]:
    after: ConversationId | None = None
    while drafts := await store.list_drafts(after=after, limit=_PAGE):
        for draft in drafts:
            yield draft
        after = drafts[-1].id


async def _each(source: Copyable, step: str, total: int, progress: Callable[[Progress], None], work: _Work) -> None:
    """Do `work` for every conversation of the source, a few at a time; the first error ends it all."""
    drafts = _drafts(source)
    turn = asyncio.Lock()  # one at a time may ask a generator for its next
    done = 0

    def report(count: int) -> None:
        nonlocal done
        done += count
        progress(Progress(step, done, total))

    async def worker() -> None:
        while True:
            async with turn:
                draft = await anext(drafts, None)
            if draft is None:
                return
            await work(draft, report)

    report(0)
    workers = [asyncio.ensure_future(worker()) for _ in range(_AT_ONCE)]
    try:
        await asyncio.gather(*workers)
    finally:
        for each in workers:
            each.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


def _update(profile: Profile) -> ProfileUpdate:
    """What makes a profile this one, whatever it was."""
    return ProfileUpdate(profile.user_id, profile.name or "", profile.avatar or "")


def _foreign(draft: ConversationDraft) -> str:
    return (
        f"The target holds something else in place of the conversation {draft.id!r}: "
        "copy into an empty database, or into one that an earlier copy of the same source has begun."
    )


def _say(counts: Counts) -> str:
    return (
        f"{counts.conversations:,} conversations with {counts.messages:,} messages"
        f" and {counts.profiles:,} profiles of users"
    )
