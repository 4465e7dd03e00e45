"""Editing, deleting and reacting: who may, for how long, at what rate, and who is told in which order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from socketserver.chat.changes import Change, ReactionLimits
from socketserver.chat.conversations import CreateConversation
from socketserver.chat.domain import ConversationId, Message, UserId
from socketserver.chat.messages import ChangeRules, DeleteMessage, EditMessage, Messages, SendMessage, SetReaction
from socketserver.chat.news import ConversationUpdated, MentionsChanged, MessageCreated, MessageUpdated, News
from socketserver.chat.service import Chat, make_chat
from socketserver.errors import (
    ChatError,
    Forbidden,
    IdempotencyConflict,
    InvalidPayload,
    LimitExceeded,
    MessageDeleted,
    MessageNotFound,
    RateLimited,
    StoreUnavailable,
    TooLate,
    VersionConflict,
)
from socketserver.limits import Buckets
from socketserver.store.results import Changed
from socketserver.store.sqlite.sqlite_store import SqliteStore
from typing import Any

import pytest
from support.clock import FakeClock

ANN, BOB, CAT = UserId("ann"), UserId("bob"), UserId("cat")


class HeldStore(SqliteStore):
    """The embedded store, whose changes are done at once and return only when a test lets them.

    Attributes:
        held: what lets each of them return, in the order of the calls; with an error, it raises that instead.
        deaf: whether it cannot say what lists show; `asked` is how often it was to.
    """

    def __init__(self) -> None:
        super().__init__(":memory:")
        self.hold = self.deaf = False
        self.asked = 0
        self.held: deque[asyncio.Future[BaseException | None]] = deque()

    async def change_message(self, change: Change) -> Changed:
        if not self.hold:
            return await super().change_message(change)
        gate: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
        self.held.append(gate)
        changed = await super().change_message(change)
        error = await gate
        if error is not None:
            raise error
        return changed

    async def get_last_message(self, conversation_id: ConversationId) -> Message | None:
        self.asked += 1
        if self.deaf:
            raise StoreUnavailable
        return await super().get_last_message(conversation_id)


class Announced:
    """A Receiver that writes down what it is told."""

    def __init__(self) -> None:
        self.news: list[tuple[type[News], int, int]] = []
        self.listed: list[ConversationUpdated] = []

    @property
    def previews(self) -> list[tuple[str | None, int | None]]:
        """What lists were told: the text that they show, "-" for the same, and which message does not count."""
        return [
            (
                (None if each.last_message is None else each.last_message.body) if each.preview else "-",
                each.uncounted_seq,
            )
            for each in self.listed
        ]

    def receive(self, news: News) -> None:
        if isinstance(news, ConversationUpdated):
            self.listed.append(news)
        elif isinstance(news, MessageCreated | MessageUpdated):
            self.news.append((type(news), news.message.seq, news.message.change))


@dataclass
class Stage:
    store: HeldStore
    clock: FakeClock
    announced: Announced
    buckets: Buckets[UserId]
    chat: Chat
    here: ConversationId

    @property
    def messages(self) -> Messages:
        return self.chat.messages

    async def say(self, body: str = "hello", *, by: UserId = ANN, **more: Any) -> Message:
        return (await self.messages.send(by, SendMessage(self.here, body, body, **more))).message

    def edit(self, body: str, *, seq: int = 1, **more: Any) -> EditMessage:
        return EditMessage(self.here, seq, body, body, **more)


async def make(rules: ChangeRules | None = None) -> Stage:
    store = HeldStore()
    await store.open()
    clock, announced, buckets = FakeClock(), Announced(), Buckets[UserId](5, 20)
    chat = make_chat(
        store,
        announced,
        clock,
        max_participants=10,
        messages=buckets,
        conversations=Buckets(1, 10),
        cached_conversations=10,
        rules=rules,
    )
    created = await chat.conversations.create(ANN, CreateConversation((BOB, CAT), "T"))
    return Stage(store, clock, announced, buckets, chat, created.conversation.id)


@pytest.fixture
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    made = await make(getattr(request, "param", None))
    yield made
    await made.chat.close()
    await made.store.close()


async def refused(work: Any) -> type[ChatError]:
    with pytest.raises(ChatError) as caught:
        await work
    return type(caught.value)


async def test_each_change_is_announced_with_its_number(stage: Stage) -> None:
    await stage.say("one")
    await stage.say("two")
    await stage.messages.edit(ANN, stage.edit("other"))
    await stage.messages.react(BOB, SetReaction(stage.here, 2, "+", on=True))
    await stage.messages.delete(ANN, DeleteMessage(stage.here, 1))
    assert stage.announced.news[2:] == [(MessageUpdated, 1, 3), (MessageUpdated, 2, 4), (MessageUpdated, 1, 5)]


async def test_a_repeat_is_a_success_and_is_announced_again(stage: Stage) -> None:
    """It covers a crash between the write and the fan-out."""
    await stage.say()
    first = await stage.messages.edit(ANN, stage.edit("other"))
    again = await stage.messages.edit(ANN, stage.edit("other"))
    assert (first.duplicate, again.duplicate) == (False, True)
    assert again.message == first.message
    assert stage.announced.news[1:] == [(MessageUpdated, 1, 2)] * 2


async def test_announcements_of_all_kinds_follow_the_numbers(stage: Stage) -> None:
    """A change that is slow to return holds back the message that was stored after it."""
    await stage.say("one")
    stage.store.hold = True
    edit = asyncio.ensure_future(stage.messages.edit(ANN, stage.edit("other")))
    react = asyncio.ensure_future(stage.messages.react(BOB, SetReaction(stage.here, 1, "+", on=True)))
    while len(stage.store.held) < 2:
        await asyncio.sleep(0)
    await stage.say("two")
    stage.store.held[1].set_result(None)
    await react
    assert stage.announced.news[1:] == []
    stage.store.held[0].set_result(None)
    await edit
    assert stage.announced.news[1:] == [(MessageUpdated, 1, 2), (MessageCreated, 2, 3)], "one for what was merged"


async def test_a_change_that_failed_gives_its_place_up(stage: Stage) -> None:
    await stage.say("one")
    stage.store.hold = True
    edit = asyncio.ensure_future(stage.messages.edit(ANN, stage.edit("other")))
    while not stage.store.held:
        await asyncio.sleep(0)
    await stage.say("two")
    stage.store.held[0].set_result(StoreUnavailable())
    assert await refused(edit) is StoreUnavailable
    assert [seq for _, seq, _ in stage.announced.news] == [1, 2]
    stage.store.hold = False
    again = await stage.messages.edit(ANN, stage.edit("other"))
    assert again.duplicate
    assert stage.announced.news[-1] == (MessageUpdated, 1, 2)


async def test_a_change_whose_author_went_away_is_announced(stage: Stage) -> None:
    await stage.say("one")
    stage.store.hold = True
    edit = asyncio.ensure_future(stage.messages.edit(ANN, stage.edit("other")))
    while not stage.store.held:
        await asyncio.sleep(0)
    stage.store.hold = False
    edit.cancel()
    with pytest.raises(asyncio.CancelledError):
        await edit
    await stage.chat.close()
    assert stage.announced.news[1:] == [(MessageUpdated, 1, 2)]


async def test_lists_are_told_of_another_preview_and_of_what_does_not_count(stage: Stage) -> None:
    """A list went on showing what a message had said before it was edited, and one that was deleted."""
    for body in ("one", "two", "three"):
        await stage.say(body)
    await stage.messages.edit(ANN, stage.edit("2", seq=2))
    await stage.messages.react(BOB, SetReaction(stage.here, 3, "+", on=True))
    assert stage.announced.previews == [], "a reaction, or an edit of an older message, is none of theirs"
    await stage.messages.edit(ANN, stage.edit("3", seq=3))
    await stage.messages.delete(ANN, DeleteMessage(stage.here, 1))
    await stage.messages.delete(ANN, DeleteMessage(stage.here, 3))
    await stage.messages.delete(ANN, DeleteMessage(stage.here, 2))
    assert stage.announced.previews == [("3", None), ("-", 1), ("2", 3), (None, 2)]


async def test_a_repeated_deletion_is_counted_once(stage: Stage) -> None:
    await stage.say("one")
    await stage.say("two")
    for _ in range(2):
        await stage.messages.delete(ANN, DeleteMessage(stage.here, 2))
        await stage.messages.delete(ANN, DeleteMessage(stage.here, 1))
    assert stage.announced.previews == [("one", 2), (None, 1), (None, None), (None, None)]


async def test_lists_are_told_in_the_order_of_the_changes(stage: Stage) -> None:
    """Also of a deletion that was stored in one with a reaction, and announced with it; and nothing of an edit that a
    deletion has overtaken."""
    await stage.say("one")
    await stage.say("two")
    stage.store.hold = True
    react = asyncio.ensure_future(stage.messages.react(BOB, SetReaction(stage.here, 2, "+", on=True)))
    edit = asyncio.ensure_future(stage.messages.edit(ANN, stage.edit("2", seq=2)))
    delete = asyncio.ensure_future(stage.messages.delete(ANN, DeleteMessage(stage.here, 2)))
    while len(stage.store.held) < 3:
        await asyncio.sleep(0)
    await stage.say("three")
    for held in reversed(stage.store.held):
        held.set_result(None)
    await asyncio.gather(react, edit, delete)
    assert stage.announced.news[2:] == [(MessageUpdated, 2, 3), (MessageCreated, 3, 4)]
    assert stage.announced.previews == [("-", 2)]


async def test_who_is_mentioned_anew_is_told_once_and_the_others_not_again(stage: Stage) -> None:
    """Also by an edit that was stored in one with a reaction, which tells of both; a deletion mentions nobody."""
    await stage.say("one", mentions=(BOB,))
    await stage.say("two")
    stage.store.hold = True
    react = asyncio.ensure_future(stage.messages.react(BOB, SetReaction(stage.here, 1, "+", on=True)))
    edit = asyncio.ensure_future(stage.messages.edit(ANN, stage.edit("1", mentions=(BOB, CAT))))
    while len(stage.store.held) < 2:
        await asyncio.sleep(0)
    for held in stage.store.held:
        held.set_result(None)
    await asyncio.gather(react, edit)
    stage.store.hold = False
    assert (await stage.messages.edit(ANN, stage.edit("1", mentions=(BOB, CAT)))).duplicate
    await stage.messages.edit(ANN, stage.edit("uno", mentions=(CAT,)))
    await stage.messages.delete(ANN, DeleteMessage(stage.here, 1))
    assert [each.mentions for each in stage.announced.listed] == [
        MentionsChanged(1, (CAT,), ()),
        MentionsChanged(1, (), (BOB,)),
        MentionsChanged(1, (), (CAT,)),
    ]
    assert stage.announced.previews == [("-", None), ("-", None), ("-", 1)]


async def test_a_store_that_cannot_be_asked_costs_lists_the_preview_alone(stage: Stage) -> None:
    await stage.say("one")
    stage.store.deaf = True
    assert not (await stage.messages.edit(ANN, stage.edit("other"))).duplicate
    await stage.messages.delete(ANN, DeleteMessage(stage.here, 1))
    assert stage.announced.previews == [("-", 1)]


@pytest.mark.parametrize("stored", [False, True])
async def test_a_deletion_whose_author_went_away_is_told_to_lists(stage: Stage, stored: bool) -> None:
    """While it was being stored, and while the preview was looked up."""
    await stage.say("one")
    await stage.say("two")
    if not stored:
        stage.store.hold = True
    delete = asyncio.ensure_future(stage.messages.delete(ANN, DeleteMessage(stage.here, 2)))
    while not (stage.store.asked if stored else stage.store.held):
        await asyncio.sleep(0)
    stage.store.hold = False
    delete.cancel()
    with pytest.raises(asyncio.CancelledError):
        await delete
    await stage.chat.close()
    assert stage.announced.news[2:] == [(MessageUpdated, 2, 3)]
    assert stage.announced.previews == [("one", 2)]


async def test_who_may_do_what(stage: Stage) -> None:
    await stage.say()
    messages, here = stage.messages, stage.here
    assert await refused(messages.edit(BOB, stage.edit("x"))) is Forbidden
    assert await refused(messages.delete(BOB, DeleteMessage(here, 1))) is Forbidden
    assert await refused(messages.edit(ANN, stage.edit("x", seq=2))) is MessageNotFound
    assert await refused(messages.edit(ANN, stage.edit("x", mentions=(UserId("dan"),)))) is InvalidPayload
    edited = (await messages.edit(ANN, stage.edit("x", mentions=(BOB,)))).message
    assert await refused(messages.edit(ANN, EditMessage(here, 1, "x", "y"))) is IdempotencyConflict
    with pytest.raises(VersionConflict) as caught:
        await messages.edit(ANN, stage.edit("z", if_change=1))
    assert caught.value.present == edited
    await messages.delete(ANN, DeleteMessage(here, 1))
    assert await refused(messages.edit(ANN, stage.edit("w"))) is MessageDeleted
    assert await refused(messages.react(BOB, SetReaction(here, 1, "+", on=True))) is MessageDeleted


async def test_a_reply_answers_a_message_that_exists_and_mentions_participants(stage: Stage) -> None:
    await stage.say("one")
    reply = await stage.say("two", reply_to=1, mentions=(BOB,))
    assert (reply.reply_to, reply.mentions) == (1, (BOB,))
    assert await refused(stage.say("three", reply_to=7)) is MessageNotFound
    assert await refused(stage.say("three", mentions=(UserId("dan"),))) is InvalidPayload
    assert (await stage.say("three")).seq == 3


@pytest.mark.parametrize(
    ("stage", "allowed"),
    [
        (ChangeRules(edit_window_s=60, delete_window_s=60), (True, False)),
        (ChangeRules(edit_window_s=-1, delete_window_s=-1), (True, True)),
        (ChangeRules(edit_window_s=0, delete_window_s=0), (False, False)),
    ],
    indirect=["stage"],
)
async def test_windows_count_from_when_a_message_was_sent(stage: Stage, allowed: tuple[bool, bool]) -> None:
    """A window of 60 s, one without an end, and none: at its end, and a second later."""
    await stage.say("first")
    stage.clock.advance(1)
    await stage.say("second")
    stage.clock.advance(60)
    for seq, may in zip((2, 1), allowed, strict=True):
        edit = stage.messages.edit(ANN, stage.edit("other", seq=seq))
        delete = stage.messages.delete(ANN, DeleteMessage(stage.here, seq))
        if may:
            await edit
            await delete
        else:
            assert await refused(edit) is TooLate
            assert await refused(delete) is TooLate


@pytest.mark.parametrize("stage", [ChangeRules(reactions=ReactionLimits(of_user=2))], indirect=True)
async def test_reactions_are_bounded(stage: Stage) -> None:
    await stage.say()
    for reaction in "ab":
        await stage.messages.react(BOB, SetReaction(stage.here, 1, reaction, on=True))
    assert await refused(stage.messages.react(BOB, SetReaction(stage.here, 1, "c", on=True))) is LimitExceeded


async def test_a_reaction_costs_a_quarter_of_a_message_and_an_edit_a_whole_one(stage: Stage) -> None:
    await stage.say()  # ann has 19 of 20 left, bob 20
    for number in range(80):
        await stage.messages.react(BOB, SetReaction(stage.here, 1, "+", on=number % 2 == 0))
    assert await refused(stage.messages.react(BOB, SetReaction(stage.here, 1, "+", on=True))) is RateLimited
    for number in range(19):
        await stage.messages.edit(ANN, stage.edit(str(number)))
    assert await refused(stage.messages.edit(ANN, stage.edit("x"))) is RateLimited
    assert await refused(stage.messages.delete(ANN, DeleteMessage(stage.here, 1))) is RateLimited
