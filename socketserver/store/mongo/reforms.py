"""How people, roles and titles change in MongoDB: the conversation's document first, then the message that says so.

Two documents cannot be written as one. So the first says everything: it is changed as one, from the state that the
change was planned for, and has the message as `pending`. Whoever reads a document with a pending message stores it
first: a crash in between leaves nothing undone, and the message's key lets it be stored once.
Source: docs/decisions/0024-people-and-title.md
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from ...chat.changes import Outcome
from ...chat.domain import ConversationDraft, ConversationId, MessageDraft
from ...chat.people import decide
from ...errors import ChatError, ConversationNotFound, IdempotencyConflict, Overloaded
from ..encoding import may_become
from ..results import Appended
from ..writes import Reform
from . import documents, people, reads
from .access import Access
from .appends import ATTEMPTS, RETRY_AFTER_MS, pause
from .database import MongoDatabase
from .documents import Document

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Turn:
    """The calls for one conversation, of which one at a time is done, in their order; `calls`: how many there are."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    calls: int = 0


class Reforms:
    """Changes conversations, and finishes what others have left.

    Args:
        say: stores a message, at most once per key, and says when it takes its place among the numbers.
    """

    def __init__(
        self,
        database: MongoDatabase,
        access: Access,
        say: Callable[[MessageDraft, Callable[[], None]], Awaitable[Appended]],
    ) -> None:
        self._database = database
        self._access = access
        self._say = say
        self._changing: dict[ConversationId, _Turn] = {}

    async def change(self, call: Reform, numbered: Callable[[], None]) -> None:
        """Do a call, after those for its conversation that were made before it, and leave its result in it.

        Raises: ConversationNotFound; Overloaded, StoreUnavailable (the change may have been done; the same call again
            tells, and so does whoever reads the conversation next).
        """
        conversation_id = call.draft.conversation_id
        turn = self._changing.setdefault(conversation_id, _Turn())
        turn.calls += 1
        try:
            async with turn.lock:
                await self._change(call, numbered)
        finally:
            turn.calls -= 1
            if not turn.calls:
                del self._changing[conversation_id]

    async def _change(self, call: Reform, numbered: Callable[[], None]) -> None:
        change = call.draft
        for attempt in range(ATTEMPTS):
            async with self._access.answering():
                found = await reads.find_last(self._database, change.conversation_id, *people.FIELDS)
            if found is None:
                raise ConversationNotFound
            if people.load_pending(found) is not None:
                await self._finish(found)
                continue  # and look where the conversation stands then
            conversation = people.load_conversation(found)
            async with self._access.answering():
                # After the document: of what was done before that was read, the message is there by now; what is done
                # after it moves `rev`.
                originals = await self._database.find_stored([call.key])
                if originals:
                    call.repeat(documents.load_message(originals[0]), conversation)
                    return
                decision = decide(conversation, change, documents.load_tail(found).seq)
                if decision.outcome is not Outcome.DONE:
                    call.answer(decision, None)
                    return
                which, stage = people.dump_change(found, decision.conversation, decision.draft)
                done = await self._database.change_conversation(which, stage)
            if done:
                message = None
                if decision.draft is not None:
                    message = (await self._say(decision.draft, numbered)).message
                    await self._drop(decision.draft)
                call.answer(decision, message)
                return
            await pause(attempt)
        raise Overloaded(retry_after_ms=RETRY_AFTER_MS)

    async def load(self, find: Callable[[], Awaitable[Document | None]]) -> Document | None:
        """A conversation's document, with nothing pending, but for what this process is about to store."""
        async with self._access.answering():
            found = await find()
        if found is None or people.load_pending(found) is None or found["_id"] in self._changing:
            return found
        try:
            await self._finish(found)
        except ChatError as error:
            _log.info("A message that says how a conversation changed is stored later: %s", error.code)
            return found
        async with self._access.answering():
            return await find()

    async def _finish(self, found: Document) -> None:
        """Store what somebody has left; who does it at the same moment does it once with us."""
        pending = people.load_pending(found)
        assert pending is not None
        await self._say(pending, lambda: None)
        await self._drop(pending)

    async def _drop(self, said: MessageDraft) -> None:
        with contextlib.suppress(ChatError):  # who reads it next does it again, to no effect but this
            async with self._access.answering():
                await self._database.drop_pending(said.conversation_id, said.id)


async def copy_conversation(database: MongoDatabase, draft: ConversationDraft) -> None:
    """The method of `Copyable`."""
    documents.check_value(draft.id, draft.title, draft.created_by, draft.dedupe_key, *draft.participant_ids)
    if await database.insert_conversation(people.dump_conversation(draft, documents.new_write())):
        return
    found = await reads.find_people(database, draft.id)
    if found is None or not may_become(people.load_conversation(found), draft):
        raise IdempotencyConflict
    which, stage = people.dump_change(found, draft.made(), None)
    if not await database.change_conversation(which, stage):
        raise IdempotencyConflict
