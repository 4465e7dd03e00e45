"""socketserver.chat.members: what is told to whom, when the store is slow, away, or another process was first."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from socketserver.chat.conversations import CreateConversation
from socketserver.chat.domain import ConversationId, MessageDraft, UserId
from socketserver.chat.members import AddParticipants, RemoveParticipant, SetParticipantRole
from socketserver.chat.messages import SendMessage
from socketserver.chat.news import MessageCreated, MessagesRead, News, PeopleChanged, PeopleKnown
from socketserver.chat.people import ConversationChange
from socketserver.chat.reading import MarkRead
from socketserver.chat.service import Chat, make_chat
from socketserver.errors import ConversationNotFound, StoreUnavailable
from socketserver.limits import Buckets
from socketserver.store.results import Appended, ReadAdvance, Reformed
from socketserver.store.sqlite.sqlite_store import SqliteStore

import pytest
from support.clock import FakeClock
from support.stores import ANN, BOB, CAT


class HeldStore(SqliteStore):
    """A store whose answers wait, or are lost.

    Attributes:
        gate: what the answers to messages and read marks wait for, once they are stored.
        lose: whether the answer to a change of a conversation is lost, once it is stored.
    """

    def __init__(self) -> None:
        super().__init__(":memory:")
        self.gate: asyncio.Event | None = None
        self.lose = False

    async def append_message(self, draft: MessageDraft) -> Appended:
        appended = await super().append_message(draft)
        if self.gate is not None:
            await self.gate.wait()
        return appended

    async def advance_read(self, conversation_id: ConversationId, user_id: UserId, seq: int, at_ms: int) -> ReadAdvance:
        advance = await super().advance_read(conversation_id, user_id, seq, at_ms)
        if self.gate is not None:
            await self.gate.wait()
        return advance

    async def change_conversation(
        self, change: ConversationChange, numbered: Callable[[], None] = lambda: None
    ) -> Reformed:
        reformed = await super().change_conversation(change, numbered)
        if self.lose:
            raise StoreUnavailable
        return reformed


class Announced:
    """What was told, in order."""

    def __init__(self) -> None:
        self.news: list[News] = []

    def receive(self, news: News) -> None:
        self.news.append(news)


class Stage:
    def __init__(self, store: HeldStore, chat: Chat, announced: Announced, here: ConversationId) -> None:
        self.store, self.chat, self.announced, self.here = store, chat, announced, here

    @property
    def told(self) -> list[str]:
        return [type(each).__name__ for each in self.announced.news]


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    store, announced, clock = HeldStore(), Announced(), FakeClock()
    await store.open()
    chat = make_chat(
        store,
        announced,
        clock,
        max_participants=10,
        messages=Buckets(100, 100),
        conversations=Buckets(100, 100),
        cached_conversations=10,
    )
    made = await chat.conversations.create(ANN, CreateConversation((BOB, CAT), "plans"))
    announced.news.clear()
    yield Stage(store, chat, announced, made.conversation.id)
    await chat.close()
    await store.close()


async def test_who_is_removed_is_shut_out_before_anything_else_is_told(stage: Stage) -> None:
    await stage.chat.members.remove(ANN, RemoveParticipant(stage.here, BOB))
    assert stage.told == ["PeopleKnown", "PeopleChanged"]
    known, changed = stage.announced.news
    assert isinstance(known, PeopleKnown)
    assert (known.gone, known.left) == ((BOB,), None)
    assert isinstance(changed, PeopleChanged)
    assert (changed.removed, changed.duplicate) == ((BOB,), False)


async def test_what_was_under_way_is_told_to_who_is_left(stage: Stage) -> None:
    """A message that was stored before a removal, and announced after it, was told to the removed as well."""
    stage.store.gate = asyncio.Event()
    sending = asyncio.ensure_future(stage.chat.messages.send(ANN, SendMessage(stage.here, "k", "hi")))
    while (await stage.store.count()).messages == 0:
        pass
    removed = await stage.chat.members.remove(ANN, RemoveParticipant(stage.here, BOB))
    assert stage.told == ["PeopleKnown"], "the message that says so waits for its turn"
    stage.store.gate.set()
    await sending
    assert stage.told == ["PeopleKnown", "MessageCreated", "PeopleChanged"]
    created = stage.announced.news[1]
    assert isinstance(created, MessageCreated)
    assert created.conversation == removed.conversation
    assert not created.conversation.has(BOB)


async def test_a_read_mark_of_who_was_removed_is_told_nobody(stage: Stage) -> None:
    await stage.chat.messages.send(ANN, SendMessage(stage.here, "k", "hi"))
    stage.store.gate = asyncio.Event()
    reading = asyncio.ensure_future(stage.chat.reading.mark(BOB, MarkRead(stage.here, 1)))
    while (await stage.store.list_read_marks(stage.here, after=ANN, limit=1)).marks[0].read_seq == 0:
        pass
    await stage.chat.members.remove(ANN, RemoveParticipant(stage.here, BOB))
    stage.store.gate.set()
    with pytest.raises(ConversationNotFound):
        await reading
    assert not any(isinstance(each, MessagesRead) for each in stage.announced.news)


async def test_a_removal_whose_answer_was_lost_counts_at_once(stage: Stage) -> None:
    """It was stored, and who was removed went on reading from what was kept in memory."""
    stage.store.lose = True
    with pytest.raises(StoreUnavailable):
        await stage.chat.members.remove(ANN, RemoveParticipant(stage.here, BOB, "k"))
    stage.store.lose = False
    with pytest.raises(ConversationNotFound):
        await stage.chat.conversations.get(BOB, stage.here)
    assert stage.told == ["PeopleKnown"]
    again = await stage.chat.members.remove(ANN, RemoveParticipant(stage.here, BOB, "k"))
    assert again.duplicate
    assert again.news
    assert again.news.message.seq == 1
    assert stage.told == ["PeopleKnown", "PeopleChanged"]


async def test_a_change_whose_caller_goes_away_is_done_and_told(stage: Stage) -> None:
    calling = asyncio.ensure_future(stage.chat.members.remove(ANN, RemoveParticipant(stage.here, BOB)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    calling.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await calling
    await stage.chat.close()
    assert stage.told == ["PeopleKnown", "PeopleChanged"]


async def test_what_was_so_already_is_told_nobody(stage: Stage) -> None:
    changed = await stage.chat.members.set_role(ANN, SetParticipantRole(stage.here, ANN, "owner"))
    assert (changed.duplicate, changed.news) == (True, None)
    changed = await stage.chat.members.add(ANN, AddParticipants(stage.here, (BOB,), "all", "k"))
    assert (changed.duplicate, changed.news) == (True, None)
    assert stage.told == []
