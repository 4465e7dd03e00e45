"""socketserver.live.watching"""

from __future__ import annotations

from collections.abc import Sequence
from socketserver.chat.domain import Conversation, ConversationId, ReadMark, UserId
from socketserver.chat.identity import Profile
from socketserver.live import watching
from socketserver.live.connections import Connection
from socketserver.live.fanout import watch_room
from socketserver.live.watching import Part
from socketserver.wire import protocol

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.parts import Parts
from unit.recorder import Emitted

ANN, BOB, CAT = UserId("ann"), UserId("bob"), UserId("cat")


def direct(name: str, creator: UserId = BOB) -> Conversation:
    return Conversation(ConversationId(name), "direct", None, creator, tuple(sorted((ANN, creator))), 1)


GROUP = Conversation(ConversationId("group"), "group", None, BOB, (ANN, BOB, CAT), 1)


class Stage(Parts):
    """Ann's socket, and a store that says who has read."""

    def __init__(self, most: int = 0, small_conversation: int = 100) -> None:
        super().__init__(sockets_per_user=0, small_conversation=small_conversation, watched_per_socket=most)
        self.ann = self.connect("s1", ANN)

    def connect(self, sid: str, user_id: UserId) -> Connection:
        self.presence.arrive(user_id)
        return super().connect(sid, user_id)

    async def join(self, conversation: Conversation, *, again: bool = False) -> dict[str, bool]:
        """Ann joins. Returns who is shown as online."""
        self.ann.joined[conversation.id] = True
        marks = [
            ReadMark(user_id, int((conversation.id, user_id) in self.stored))
            for user_id in conversation.participant_ids
        ]
        shown = await self.watching.participants(self.ann, ANN, conversation, marks, again=again)
        return {participant["userId"]: participant["online"] for participant in shown}

    def watched(self) -> set[str]:
        """Whom Ann watches; her rooms agree."""
        rooms = {room[2:] for room in self.sio.rooms_of("s1") if room.startswith(watch_room(UserId("")))}
        assert rooms == set(self.ann.watched)
        return rooms


async def test_who_has_taken_part_is_shown() -> None:
    """Presence shows of oneself, of who created the conversation, and of who has written or read there."""
    stage = Stage()
    for sid, user_id in (("s2", BOB), ("s3", CAT)):
        stage.connect(sid, user_id)
    assert await stage.join(GROUP) == {"ann": True, "bob": True, "cat": False}
    assert stage.watched() == {"bob"}
    stage.stored.add((GROUP.id, CAT))
    assert await stage.join(GROUP, again=True) == {"ann": True, "bob": True, "cat": True}
    assert stage.watched() == {"bob", "cat"}


async def test_taking_part_is_news_once() -> None:
    """Who joins for the first time comes into view for those who have the conversation open, and only then."""
    stage = Stage()
    await stage.join(GROUP)
    stage.connect("s3", CAT)
    for _ in range(2):
        await stage.watching.take_part(GROUP, CAT)
    assert stage.sio.take() == [Emitted("presence_changed", protocol.dump_presence(CAT, True, None), ("s1",))]
    assert stage.watching.knows(GROUP.id, CAT)


async def test_who_comes_into_view_is_shown_as_they_are_now() -> None:
    """A name that changed while nobody watched stayed the old one for those who had the conversation open."""
    stage = Stage()
    await stage.join(GROUP)
    stage.connect("s3", CAT)
    stage.people[CAT] = Profile(CAT, "Cat")
    await stage.watching.take_part(GROUP, CAT)
    assert stage.sio.take() == [
        Emitted("presence_changed", protocol.dump_presence(CAT, True, None), ("s1",)),
        Emitted("profile_changed", {"userId": "cat", "name": "Cat"}, ("s1",)),
    ]


async def test_large_conversations_watch_nobody() -> None:
    """In a large conversation joining tells who is online, and nothing later."""
    stage = Stage(small_conversation=2)
    stage.connect("s2", BOB)
    assert (await stage.join(GROUP))["bob"]
    await stage.watching.take_part(GROUP, CAT)
    assert stage.watched() == set()
    assert stage.sio.take() == []


async def test_a_list_asks_the_store_once() -> None:
    """Who is known to have taken part, by creating it or by an earlier answer, is not looked up."""
    stage = Stage()
    mine = Conversation(ConversationId("mine"), "direct", None, ANN, (ANN, CAT), 1)
    page = [direct("his"), mine, GROUP]
    stage.connect("s3", CAT)
    assert [each["online"] for each in await stage.watching.listed(stage.ann, ANN, page)] == [False, False]
    assert stage.watched() == {"bob"}
    stage.stored.add((mine.id, CAT))
    for _ in range(2):
        assert [each["online"] for each in await stage.watching.listed(stage.ann, ANN, page)] == [False, True]
    assert stage.asked == [[(mine.id, CAT)]] * 2


async def test_who_takes_part_while_a_list_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The list's answer took back what had been announced while the store was read."""
    stage = Stage()
    mine = Conversation(ConversationId("mine"), "direct", None, ANN, (ANN, CAT), 1)
    stage.connect("s3", CAT)

    async def readers(parts: Sequence[Part]) -> set[Part]:
        await stage.watching.take_part(mine, CAT)
        return set()

    monkeypatch.setattr(stage.watching, "_readers", readers)
    (shown,) = await stage.watching.listed(stage.ann, ANN, [mine])
    assert shown["online"]
    assert stage.watched() == {"cat"}


async def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound the part that was taken longest ago is forgotten; the store may know it still."""
    monkeypatch.setattr(watching, "PARTS_KEPT", 2)
    stage = Stage()
    for number in range(3):
        await stage.watching.take_part(direct(str(number)), BOB)
    assert [stage.watching.knows(ConversationId(str(number)), BOB) for number in range(3)] == [False, True, True]


@given(st.lists(st.tuples(st.sampled_from(["join", "leave", "list", "look"]), st.integers(0, 5))))
async def test_what_is_open_comes_first(steps: list[tuple[str, int]]) -> None:
    """A list filled the bound, and the open conversation's presence was missing: after any steps as many are watched as
    there is room for, and the newest of the joined conversations is among them."""
    stage = Stage(most=3)
    conversations = [direct(str(number), UserId(f"u{number}")) for number in range(6)]
    newest: list[int] = []  # joined, the one that was opened or looked at last at the end
    seen: set[str] = set()
    for step, number in steps:
        conversation = conversations[number]
        if step == "list":
            await stage.watching.listed(stage.ann, ANN, conversations)
            seen = {f"u{each}" for each in range(6)}
        elif step == "join":
            await stage.join(conversation, again=number in newest)
            seen.add(f"u{number}")
            newest = [*(each for each in newest if each != number), number]
        elif number in newest and step == "leave":
            stage.watching.leave(stage.ann, conversation)
            newest.remove(number)
        elif number in newest and f"u{number}" in stage.ann.watched:
            stage.watching.look(stage.ann, conversation)
            newest = [*(each for each in newest if each != number), number]
        assert len(stage.watched()) == min(3, len(seen))
        if newest:
            assert f"u{newest[-1]}" in stage.watched() or step == "leave"
