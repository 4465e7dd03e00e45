"""socketserver.chat: the use cases, over the embedded store"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from socketserver.chat.conversations import (
    Conversations,
    CreateConversation,
    JoinConversation,
    ListConversations,
    ListParticipants,
)
from socketserver.chat.domain import Conversation, ConversationId, Message, MessageDraft, ReadMark, UserId
from socketserver.chat.history import FetchChanges, FetchHistory, FetchMessages
from socketserver.chat.members import (
    AddParticipants,
    Members,
    RemoveParticipant,
    SetParticipantRole,
    UpdateConversation,
)
from socketserver.chat.messages import DeleteMessage, EditMessage, Messages, SendMessage, SetReaction
from socketserver.chat.news import ConversationCreated, MessageCreated, MessagesRead, News, Receivers
from socketserver.chat.reading import MarkRead, Reading
from socketserver.chat.service import Chat, make_chat
from socketserver.errors import (
    ConversationNotFound,
    Forbidden,
    IdempotencyConflict,
    InvalidPayload,
    RateLimited,
    StoreUnavailable,
)
from socketserver.limits import Buckets
from socketserver.store.results import Appended
from socketserver.store.sqlite.sqlite_store import SqliteStore
from typing import Any

import pytest
from support.clock import START_MS, FakeClock

ANN, BOB, CAT, DAN = UserId("ann"), UserId("bob"), UserId("cat"), UserId("dan")


class Announced:
    """A Receiver that writes down what it is told."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.conversations: list[Conversation] = []
        self.marks: list[ReadMark] = []

    def receive(self, news: News) -> None:
        if isinstance(news, MessageCreated):
            assert news.conversation.id == news.message.conversation_id
            self.messages.append(news.message)
        elif isinstance(news, ConversationCreated):
            self.conversations.append(news.conversation)
        elif isinstance(news, MessagesRead):
            self.marks.append(news.mark)

    @property
    def bodies(self) -> list[str]:
        return [message.body for message in self.messages]


class HeldStore(SqliteStore):
    """The embedded store, whose appends are done at once and return only when a test lets them.

    Attributes:
        hold: keep the next appends back.
        held: what lets each of them return, in the order of the calls; with an error, it raises that instead.
        lookups: how often a conversation was read.
    """

    def __init__(self) -> None:
        super().__init__(":memory:")
        self.hold = False
        self.held: deque[asyncio.Future[BaseException | None]] = deque()
        self.lookups = 0

    async def append_message(self, draft: MessageDraft) -> Appended:
        if not self.hold:
            return await super().append_message(draft)
        gate: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
        self.held.append(gate)
        appended = await super().append_message(draft)
        error = await gate
        if error is not None:
            raise error
        return appended

    async def get_conversation(self, conversation_id: ConversationId) -> Conversation | None:
        self.lookups += 1
        return await super().get_conversation(conversation_id)


class Stage:
    """A chat over the embedded store."""

    def __init__(self, store: HeldStore) -> None:
        self.store = store
        self.clock = FakeClock()
        self.announced = Announced()
        self.buckets: Buckets[UserId] = Buckets(5, 20)
        self.creations: Buckets[UserId] = Buckets(1, 10)
        self.chat = self.service()

    def service(self, **options: Any) -> Chat:
        defaults: dict[str, Any] = {
            "max_participants": 4,
            "messages": self.buckets,
            "conversations": self.creations,
            "cached_conversations": 2,
        }
        receiver = options.pop("receiver", self.announced)
        return make_chat(self.store, receiver, self.clock, **defaults | options)

    async def conversation(self, *others: UserId, title: str | None = "T") -> ConversationId:
        created = await self.chat.conversations.create(ANN, CreateConversation(others or (BOB,), title))
        return created.conversation.id

    def sending(
        self, conversation_id: ConversationId, body: str, *, key: str | None = None, by: UserId = ANN
    ) -> asyncio.Task[MessageCreated]:
        return asyncio.create_task(self.chat.messages.send(by, SendMessage(conversation_id, key or body, body)))

    async def hold(self, *tasks: asyncio.Task[MessageCreated]) -> None:
        """Wait until the appends of all these are held."""
        async with asyncio.timeout(10):
            while len(self.store.held) < len(tasks):
                await asyncio.sleep(0)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    store = HeldStore()
    await store.open()
    stage = Stage(store)
    yield stage
    await stage.chat.close()
    await store.close()


# Permission


async def send(chat: Chat, user_id: UserId, conversation_id: ConversationId) -> object:
    return await chat.messages.send(user_id, SendMessage(conversation_id, "k", "hi"))


async def forbidden(work: Awaitable[object]) -> bool:
    """Do what a participant may not do."""
    with pytest.raises(Forbidden):
        await work
    return True


ASKING: dict[str, Callable[[Chat, UserId, ConversationId], Awaitable[object]]] = {
    "get": lambda chat, user, c: chat.conversations.get(user, c),
    "snapshot": lambda chat, user, c: chat.conversations.snapshot(user, JoinConversation(c, 10)),
    "send": send,
    "mark": lambda chat, user, c: chat.reading.mark(user, MarkRead(c, 1)),
    "edit": lambda chat, user, c: chat.messages.edit(user, EditMessage(c, 1, "e", "other")),
    "delete": lambda chat, user, c: chat.messages.delete(user, DeleteMessage(c, 1)),
    "react": lambda chat, user, c: chat.messages.react(user, SetReaction(c, 1, "+", on=True)),
    "changes": lambda chat, user, c: chat.history.changes(user, FetchChanges(c, 0, 10)),
    "some": lambda chat, user, c: chat.history.some(user, FetchMessages(c, (1,))),
    "history": lambda chat, user, c: chat.history.page(user, FetchHistory(c, 10)),
    "add": lambda chat, user, c: forbidden(chat.members.add(user, AddParticipants(c, (CAT,), "all", "k"))),
    "remove": lambda chat, user, c: forbidden(chat.members.remove(user, RemoveParticipant(c, ANN))),
    "set_role": lambda chat, user, c: forbidden(chat.members.set_role(user, SetParticipantRole(c, ANN, "member"))),
    "update": lambda chat, user, c: forbidden(chat.members.update(user, UpdateConversation(c, "title"))),
    "participants": lambda chat, user, c: chat.conversations.participants(user, ListParticipants(c, 10)),
}


@pytest.mark.parametrize("method", ASKING)
async def test_a_stranger_learns_nothing(stage: Stage, method: str) -> None:
    """A conversation that exists and one that does not look alike to somebody who does not take part, cached or not."""
    conversation_id = await stage.conversation()
    ask = ASKING[method]
    if method in ("edit", "delete", "react", "some"):
        await stage.chat.messages.send(BOB, SendMessage(conversation_id, "first", "first"))
    answers = []
    for asked in (conversation_id, ConversationId("no such")):
        for chat in (stage.chat, stage.service()):
            with pytest.raises(ConversationNotFound) as caught:
                await ask(chat, CAT, asked)
            answers.append((caught.value.code, caught.value.message, caught.value.fields))
    assert len(set(answers)) == 1
    assert await ask(stage.chat, BOB, conversation_id)
    page = await stage.store.list_messages(conversation_id, limit=10)
    assert {message.sender_id for message in page.messages} <= {BOB}
    assert len(page.messages) == (method in ("send", "edit", "delete", "react", "some"))


def test_every_use_case_is_asked() -> None:
    """The test above knows every method that takes a conversation; the other two work on the user's own."""
    methods = {
        name
        for part in (Conversations, Messages, Reading, Members)
        for name, value in vars(part).items()
        if callable(value) and not name.startswith("_")
    }
    assert methods - set(ASKING) == {
        *("create", "page", "close"),
        *("know", "doubt", "listed", "shuts_out"),  # tell nobody anything
    }


async def test_lists_are_ones_own(stage: Stage) -> None:
    """A list has the conversations in which the user takes part, and no others."""
    mine = await stage.conversation(BOB)
    await stage.chat.conversations.create(BOB, CreateConversation((CAT,)))
    page = await stage.chat.conversations.page(ANN, ListConversations(10))
    assert [summary.conversation.id for summary in page.summaries] == [mine]


# Creating


async def test_create(stage: Stage) -> None:
    """A new conversation has everybody in it, the time of its creation, and is announced once."""
    created = await stage.chat.conversations.create(ANN, CreateConversation((CAT, BOB), "T"))
    conversation = created.conversation
    assert not created.duplicate
    assert (conversation.kind, conversation.title, conversation.created_by) == ("group", "T", ANN)
    assert conversation.participant_ids == (ANN, BOB, CAT)
    assert conversation.created_at_ms == START_MS
    assert stage.announced.conversations == [conversation]


async def test_direct_conversation_is_found_again(stage: Stage) -> None:
    """Two people have one direct conversation, whoever asks; a repeat is not announced."""
    first = await stage.chat.conversations.create(ANN, CreateConversation((BOB,)))
    second = await stage.chat.conversations.create(BOB, CreateConversation((ANN, BOB)))
    assert (first.duplicate, second.duplicate) == (False, True)
    assert first.conversation == second.conversation
    assert len(stage.announced.conversations) == 1


async def test_group_repeats_by_its_key(stage: Stage) -> None:
    """The same key means the same group; other participants or another title under it are refused."""
    command = CreateConversation((BOB, CAT), "T", "key")
    first = await stage.chat.conversations.create(ANN, command)
    assert (await stage.chat.conversations.create(ANN, command)).conversation == first.conversation
    for other in (CreateConversation((BOB,), "T", "key"), CreateConversation((BOB, CAT), "U", "key")):
        with pytest.raises(IdempotencyConflict):
            await stage.chat.conversations.create(ANN, other)
    assert not (await stage.chat.conversations.create(BOB, CreateConversation((ANN, CAT), "T", "key"))).duplicate
    assert len(stage.announced.conversations) == 2


@pytest.mark.parametrize("others", [(), (ANN,), (ANN, ANN)])
async def test_nobody_to_talk_to(stage: Stage, others: tuple[UserId, ...]) -> None:
    """A conversation with oneself alone is refused, and the field is named."""
    with pytest.raises(InvalidPayload) as caught:
        await stage.chat.conversations.create(ANN, CreateConversation(others, "T"))
    assert set(caught.value.fields or ()) == {"participantIds"}


async def test_too_many_participants(stage: Stage) -> None:
    """The bound counts everybody, oneself included and each once."""
    four = (ANN, BOB, CAT, DAN, DAN)
    assert await stage.chat.conversations.create(ANN, CreateConversation(four))
    with pytest.raises(InvalidPayload) as caught:
        await stage.chat.conversations.create(ANN, CreateConversation((*four, UserId("eve"))))
    assert set(caught.value.fields or ()) == {"participantIds"}
    assert len(stage.announced.conversations) == 1


# Sending


async def test_send(stage: Stage) -> None:
    """A message is stored with its numbers and time, announced, and read by its sender."""
    conversation_id = await stage.conversation()
    command = SendMessage(conversation_id, "k", "hi", {"a": 1})
    appended = await stage.chat.messages.send(ANN, command)
    message = appended.message
    assert not appended.duplicate
    assert (message.seq, message.change, message.created_at_ms, message.metadata) == (1, 1, START_MS, {"a": 1})
    assert stage.announced.messages == [message]
    page = await stage.chat.conversations.page(ANN, ListConversations(10))
    assert page.summaries[0].read_seq == 1


async def test_repeat(stage: Stage) -> None:
    """A repeat is the first message again, is announced again, and takes no number."""
    conversation_id = await stage.conversation()
    first = await stage.sending(conversation_id, "hi", key="k")
    stage.clock.advance(5)
    again = await stage.sending(conversation_id, "hi", key="k")
    assert again.duplicate
    assert again.message == first.message
    assert stage.announced.messages == [first.message] * 2
    assert (await stage.sending(conversation_id, "next")).message.seq == 2
    with pytest.raises(IdempotencyConflict):
        await stage.sending(conversation_id, "other", key="k")
    assert stage.announced.bodies == ["hi", "hi", "next"]


async def test_twenty_at_once_are_one(stage: Stage) -> None:
    """The same key twenty times at once: one message, one original."""
    conversation_id = await stage.conversation()
    results = await asyncio.gather(*(stage.sending(conversation_id, "hi", key="k") for _ in range(20)))
    assert sum(not appended.duplicate for appended in results) == 1
    assert len({appended.message.id for appended in results}) == 1
    assert (await stage.store.list_messages(conversation_id, limit=50)).messages == (results[0].message,)


async def test_rate(stage: Stage) -> None:
    """Beyond the burst a user is told how long to wait, nothing is stored, and others are not affected."""
    conversation_id = await stage.conversation()
    for number in range(20):
        await stage.sending(conversation_id, str(number))
    with pytest.raises(RateLimited) as caught:
        await stage.sending(conversation_id, "too many")
    wait_ms = caught.value.retry_after_ms
    assert wait_ms is not None
    assert 200 <= wait_ms <= 202
    await stage.sending(conversation_id, "from bob", by=BOB)
    stage.clock.advance(wait_ms / 1000)
    assert (await stage.sending(conversation_id, "too many")).message.seq == 22


async def test_the_rate_of_new_conversations(stage: Stage) -> None:
    """Somebody who created large groups at the rate of all events could fill a disk."""
    for _ in range(10):
        await stage.conversation()
    with pytest.raises(RateLimited) as caught:
        await stage.conversation()
    assert caught.value.retry_after_ms == 1000
    stage.clock.advance(1)
    await stage.conversation()
    assert len((await stage.store.list_conversations(BOB, limit=50, before=None)).summaries) == 11


async def test_a_repeated_creation_is_refunded(stage: Stage) -> None:
    """A client that asks for its direct conversation each time it is opened does not use up its rate."""
    for _ in range(30):
        await stage.conversation(title=None)
    for _ in range(9):
        await stage.conversation()
    with pytest.raises(RateLimited):
        await stage.conversation()


@pytest.mark.parametrize(("people", "count"), [(50, 10), (51, 5), (500, 1), (600, 1)])
async def test_large_conversations_count_for_several(stage: Stage, people: int, count: int) -> None:
    """One for each 50 participants, begun; the largest count for no more than may be created at once."""
    chat = stage.service(max_participants=0)
    others = tuple(UserId(f"user{number}") for number in range(people - 1))
    for _ in range(count):
        await chat.conversations.create(ANN, CreateConversation(others, "large"))
    with pytest.raises(RateLimited):
        await chat.conversations.create(ANN, CreateConversation(others, "large"))


async def test_duplicates_are_refunded(stage: Stage) -> None:
    """A client that sends one message again and again, as after a reconnect, does not use up its rate."""
    conversation_id = await stage.conversation()
    for _ in range(100):
        await stage.sending(conversation_id, "hi", key="k")
    for number in range(19):
        await stage.sending(conversation_id, str(number))
    with pytest.raises(RateLimited):
        await stage.sending(conversation_id, "too many")


async def test_strangers_cost_no_rate(stage: Stage) -> None:
    """A message to a conversation that one is not in is refused before it counts."""
    conversation_id = await stage.conversation()
    for _ in range(30):
        with pytest.raises(ConversationNotFound):
            await stage.sending(conversation_id, "hi", by=CAT)
    assert len(stage.buckets) == 0


async def test_announced_in_order_whatever_returns_first(stage: Stage) -> None:
    """Appends that return in another order than they were made are announced by number."""
    conversation_id = await stage.conversation()
    stage.store.hold = True
    tasks = [stage.sending(conversation_id, body) for body in "abcd"]
    await stage.hold(*tasks)
    for number in (2, 1, 3):
        stage.store.held[number].set_result(None)
        await tasks[number]
    assert stage.announced.messages == []
    stage.store.held[0].set_result(None)
    await tasks[0]
    assert stage.announced.bodies == ["a", "b", "c", "d"]
    assert [message.seq for message in stage.announced.messages] == [1, 2, 3, 4]


async def test_a_failed_append_holds_nobody_up(stage: Stage) -> None:
    """An append that fails gives its place up; its sender gets the error."""
    conversation_id = await stage.conversation()
    stage.store.hold = True
    tasks = [stage.sending(conversation_id, body) for body in "ab"]
    await stage.hold(*tasks)
    stage.store.held[1].set_result(None)
    await tasks[1]
    stage.store.held[0].set_result(StoreUnavailable())
    with pytest.raises(StoreUnavailable):
        await tasks[0]
    assert stage.announced.bodies == ["b"]
    stage.store.hold = False
    again = await stage.sending(conversation_id, "a")
    assert (again.duplicate, again.message.seq) == (True, 1)
    assert stage.announced.bodies == ["b", "a"]


async def test_conversations_do_not_wait_for_each_other(stage: Stage) -> None:
    """A slow append holds up its own conversation only."""
    slow, fast = await stage.conversation(), await stage.conversation()
    stage.store.hold = True
    waiting = stage.sending(slow, "slow")
    await stage.hold(waiting)
    stage.store.hold = False
    await stage.sending(fast, "fast")
    assert stage.announced.bodies == ["fast"]
    stage.store.held[0].set_result(None)
    await waiting
    assert stage.announced.bodies == ["fast", "slow"]


async def test_a_sender_that_goes_away(stage: Stage) -> None:
    """A sender cancelled in mid-append: the message is stored once and announced, in its place."""
    conversation_id = await stage.conversation()
    stage.store.hold = True
    tasks = [stage.sending(conversation_id, body) for body in "ab"]
    await stage.hold(*tasks)
    stage.store.hold = False
    stage.store.held[1].set_result(None)
    await tasks[1]
    tasks[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    await stage.chat.close()
    assert stage.announced.bodies == ["a", "b"]
    page = await stage.store.list_messages(conversation_id, limit=10)
    assert page.messages == tuple(stage.announced.messages)


async def test_a_sender_that_goes_away_while_the_store_is_down(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """If nobody can tell whether a lost sender's message is stored, the log says so and the lane goes on."""
    conversation_id = await stage.conversation()
    stage.store.hold = True
    tasks = [stage.sending(conversation_id, body) for body in "ab"]
    await stage.hold(*tasks)
    tasks[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    await stage.hold(*tasks, tasks[0])
    stage.store.held[2].set_result(StoreUnavailable())
    stage.store.held[1].set_result(None)
    await tasks[1]
    await stage.chat.close()
    assert stage.announced.bodies == ["b"]
    assert "store_unavailable" in caplog.text


async def test_a_bug_after_a_sender_went_away(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """Bug: an unexpected error of the store, for a sender that had gone, came out of close(), and nothing after it was
    closed. Now it is logged."""
    conversation_id = await stage.conversation()
    stage.store.hold = True
    task = stage.sending(conversation_id, "a")
    await stage.hold(task)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await stage.hold(task, task)
    stage.store.held[1].set_result(RuntimeError("a bug"))
    await stage.chat.close()
    assert "a bug" in caplog.text


# Reading


async def test_mark_read(stage: Stage) -> None:
    """A mark moves up to the newest message and never back; only a move is announced."""
    conversation_id = await stage.conversation()
    for body in "abc":
        await stage.sending(conversation_id, body)
    marks = [await stage.chat.reading.mark(BOB, MarkRead(conversation_id, seq)) for seq in (2, 1, 99, 99)]
    assert [(advance.mark.read_seq, advance.advanced) for advance in marks] == [
        (2, True),
        (2, False),
        (3, True),
        (3, False),
    ]
    assert [(mark.user_id, mark.read_seq) for mark in stage.announced.marks] == [(BOB, 2), (BOB, 3)]


async def test_snapshot_and_history(stage: Stage) -> None:
    """A snapshot has what came after `after`, history the page that was asked for."""
    conversation_id = await stage.conversation()
    for body in "abcde":
        await stage.sending(conversation_id, body)
    snapshot = await stage.chat.conversations.snapshot(BOB, JoinConversation(conversation_id, 2, after=1))
    assert [message.body for message in snapshot.messages] == ["d", "e"]
    assert snapshot.gap is not None
    assert (snapshot.gap.from_seq, snapshot.gap.to_seq) == (2, 3)
    page = await stage.chat.history.page(BOB, FetchHistory(conversation_id, 2, after_seq=1))
    assert [message.body for message in page.messages] == ["b", "c"]
    assert page.has_more


# The cache


async def test_cache_is_bounded(stage: Stage) -> None:
    """As many conversations are kept as allowed, those used last; what is kept is not read again."""
    first, second, third = [await stage.conversation() for _ in range(3)]
    await stage.chat.conversations.get(ANN, second)
    await stage.chat.conversations.get(ANN, third)
    assert stage.store.lookups == 0
    await stage.chat.conversations.get(ANN, first)
    assert stage.store.lookups == 1  # it had been forgotten for the third
    await stage.chat.conversations.get(ANN, third)
    assert stage.store.lookups == 1
    await stage.chat.conversations.get(ANN, second)
    assert stage.store.lookups == 2
    assert stage.chat.conversations.cached == 2


async def test_what_does_not_exist_is_not_kept(stage: Stage) -> None:
    """Asking for conversations that do not exist fills no memory."""
    for number in range(10):
        with pytest.raises(ConversationNotFound):
            await stage.chat.conversations.get(ANN, ConversationId(str(number)))
    assert stage.chat.conversations.cached == 0


# The news


class Failing:
    """A receiver with a bug."""

    def receive(self, news: News) -> None:
        raise RuntimeError("a bug of one receiver")


async def test_a_receiver_that_fails_costs_the_others_nothing(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """Several receivers are told in their order; what one of them raises is logged, and the request is answered."""
    first, last = Announced(), Announced()
    chat = stage.service(receiver=Receivers((first, Failing(), last)))
    created = await chat.conversations.create(ANN, CreateConversation((BOB,)))
    sent = await chat.messages.send(ANN, SendMessage(created.conversation.id, "k", "hi"))
    await chat.reading.mark(BOB, MarkRead(created.conversation.id, 1))
    for announced in (first, last):
        assert announced.conversations == [created.conversation]
        assert announced.messages == [sent.message]
        assert [mark.user_id for mark in announced.marks] == [BOB]
    assert caplog.text.count("announced by Failing") == 4


async def test_the_news_tell_a_repeat(stage: Stage) -> None:
    """A receiver that must not act twice on one message (a webhook, a push) can tell a repeat."""
    conversation_id = await stage.conversation()
    assert not (await stage.sending(conversation_id, "hi", key="k")).duplicate
    assert (await stage.sending(conversation_id, "hi", key="k")).duplicate
