"""socketserver.live.fanout"""

from __future__ import annotations

import json
from dataclasses import replace
from socketserver.chat.domain import Conversation, ConversationId, Entry, Message, MessageId, ReadMark, UserId
from socketserver.chat.identity import Profile
from socketserver.chat.news import (
    ConversationCreated,
    ConversationUpdated,
    MentionsChanged,
    MessageCreated,
    MessagesRead,
    MessageUpdated,
    ProfileChanged,
    SettingsChanged,
)
from socketserver.chat.own_settings import OwnSettings
from socketserver.live.auto_read import Seen
from socketserver.live.connections import Connection
from socketserver.live.fanout import Fanout, conversation_room, user_room, watch_room
from socketserver.wire import protocol

import orjson
import pytest
from support.parts import Parts
from unit.recorder import Emitted

ANN, BOB, CAT = UserId("ann"), UserId("bob"), UserId("cat")
C = ConversationId("c")
CONVERSATION = Conversation(C, "group", "T", ANN, (ANN, BOB, CAT), 1)
MESSAGE = Message(MessageId("m"), C, 7, 7, ANN, "key", "hello", None, 5)


class Stage(Parts):
    """A user has any number of sockets, and a conversation of three is small."""

    def __init__(
        self, small_conversation: int = 3, outbox_bytes: int = 0, listed: int | None = None, joined: int | None = None
    ) -> None:
        super().__init__(sockets_per_user=0, small_conversation=small_conversation, outbox_bytes=outbox_bytes)
        if listed is not None and joined is not None:
            self.fanout = Fanout(
                self.sio,
                self.sessions,
                self.auto_read,
                self.clock,
                small_conversation=small_conversation,
                listed_participants=listed,
                joined_participants=joined,
            )

    def show(self, sid: str, user_id: UserId, visible: bool) -> Connection:
        """A user's connection that has joined the conversation."""
        connection = self.connect(sid, user_id)
        connection.joined[C] = visible
        return connection

    def seen(self) -> list[Seen]:
        return self.auto_read.due(self.clock.monotonic_s() + 1)


def test_rooms_do_not_collide() -> None:
    """A user, a conversation and who watches a user have rooms of their own, whatever the ids are."""
    assert len({conversation_room(C), user_room(UserId("c")), watch_room(UserId("c"))}) == 3


def test_message_to_those_who_joined_and_activity_to_the_others() -> None:
    """Sockets that joined get message_created, participants' other sockets conversation_activity, the sender's too."""
    stage = Stage()
    stage.show("ann-joined", ANN, visible=True)
    stage.connect("ann-other", ANN)
    stage.show("bob-joined", BOB, visible=False)
    stage.connect("cat", CAT)
    stage.connect("stranger", UserId("dan"))
    stage.fanout.receive(MessageCreated(CONVERSATION, MESSAGE, duplicate=False))
    assert stage.sio.take() == [
        Emitted("message_created", {"message": protocol.dump_message(MESSAGE)}, (conversation_room(C),)),
        Emitted("conversation_activity", protocol.dump_activity(MESSAGE), ("ann-other", "cat")),
    ]


@pytest.mark.parametrize(("listed", "joined"), [(2, 2), (2, 3), (3, 3), (0, 0)])
def test_a_sender_is_told_where_not_all_participants_are(listed: int, joined: int) -> None:
    """In a conversation of a thousand a message came from an id of which its readers had never been told more."""
    stage = Stage(listed=listed, joined=joined)
    stage.show("ann-joined", ANN, visible=True)
    stage.connect("bob", BOB)
    created = MessageCreated(CONVERSATION, MESSAGE, duplicate=False, sender=Profile(ANN, "Ann"))
    stage.fanout.receive(created)
    message, activity = stage.sio.take()
    ann = {"userId": "ann", "name": "Ann"}
    assert message.data.get("sender") == (ann if joined == 2 else None)
    assert activity.data.get("sender") == (ann if listed == 2 else None)
    stage.fanout.receive(ConversationUpdated(CONVERSATION, True, MESSAGE, sender=Profile(ANN, "Ann")))
    (listed_one,) = stage.sio.take()
    assert listed_one.data.get("sender") == (ann if listed == 2 else None)
    stage.fanout.receive(MessageCreated(CONVERSATION, MESSAGE, duplicate=True))
    assert not any("sender" in emitted.data for emitted in stage.sio.take())


def test_no_activity_when_everybody_has_joined() -> None:
    """Nobody elsewhere, no conversation_activity."""
    stage = Stage()
    stage.show("bob", BOB, visible=False)
    stage.fanout.receive(MessageCreated(CONVERSATION, MESSAGE, duplicate=False))
    assert [emitted.event for emitted in stage.sio.take()] == ["message_created"]


def test_a_change_is_told_to_those_who_joined_and_nobody_else() -> None:
    """It is no activity: it moves no conversation up a list."""
    stage = Stage()
    stage.show("bob", BOB, visible=True)
    stage.connect("cat", CAT)
    stage.fanout.receive(MessageUpdated(CONVERSATION, MESSAGE, duplicate=False))
    assert stage.sio.take() == [
        Emitted("message_updated", {"message": protocol.dump_message(MESSAGE)}, (conversation_room(C),))
    ]
    assert stage.seen() == []


@pytest.mark.parametrize(
    ("updated", "more"),
    [
        (ConversationUpdated(CONVERSATION, True, MESSAGE), {"lastMessage": protocol.dump_message(MESSAGE)}),
        (ConversationUpdated(CONVERSATION, True, None, 7), {"lastMessage": None, "uncountedSeq": 7}),
        (ConversationUpdated(CONVERSATION, uncounted_seq=6), {"uncountedSeq": 6}),
        (
            ConversationUpdated(CONVERSATION, mentions=MentionsChanged(6, (BOB,), ())),
            {"mentions": {"seq": 6, "added": ["bob"], "removed": []}},
        ),
        (ConversationUpdated(CONVERSATION), {}),
    ],
)
def test_what_lists_show_is_told_to_all_participants_sockets(
    updated: ConversationUpdated, more: dict[str, object]
) -> None:
    """Whether they have joined or not, and each once; what has not changed is left out."""
    stage = Stage()
    stage.show("ann-joined", ANN, visible=True)
    stage.connect("ann-other", ANN)
    stage.connect("cat", CAT)
    stage.connect("stranger", UserId("dan"))
    stage.fanout.receive(updated)
    payload = {"conversation": protocol.dump_conversation(CONVERSATION), **more}
    assert stage.sio.take() == [
        Emitted("conversation_updated", payload, (conversation_room(C), "ann-other", "cat")),
    ]
    assert stage.seen() == []


def test_who_may_not_see_the_preview_is_told_what_counts_no_more() -> None:
    """Who was added without the history kept a deleted message of their own time as unread: the one that lists show
    then was before that time, so they were told of nothing. Nor may anybody hear of messages before their time."""
    entries = {BOB: Entry(5, 5), CAT: Entry(8, 8)}
    conversation = replace(CONVERSATION, entries=entries)
    stage = Stage()
    stage.show("bob-joined", BOB, visible=True)
    for sid, user_id in (("ann", ANN), ("bob-other", BOB), ("cat", CAT)):
        stage.connect(sid, user_id)
    last = replace(MESSAGE, seq=3)
    gone = MentionsChanged(6, (), (BOB,))
    stage.fanout.receive(ConversationUpdated(conversation, True, last, 6, mentions=gone))
    told = {"conversation": protocol.dump_conversation(conversation)}
    counted = {"uncountedSeq": 6, "mentions": {"seq": 6, "added": [], "removed": ["bob"]}}
    name, room = "conversation_updated", (conversation_room(C), "ann", "bob-other", "cat")
    assert stage.sio.take() == [
        Emitted(
            name,
            {**told, "lastMessage": protocol.dump_message(last), **counted},
            room,
            {"bob-joined", "bob-other", "cat"},
        ),
        Emitted(name, {**told, "lastMessage": None}, ("cat",)),
        Emitted(name, {**told, "lastMessage": None, **counted}, ("bob-joined", "bob-other")),
    ]
    stage.fanout.receive(ConversationUpdated(conversation, uncounted_seq=6))
    everybody, cat = stage.sio.take()
    assert (everybody.data["uncountedSeq"], everybody.skip_sid) == (6, {"cat"})
    assert (cat.data, cat.rooms) == (told, ("cat",))


def test_own_settings_are_told_to_ones_own_sockets() -> None:
    stage = Stage()
    stage.fanout.receive(SettingsChanged(C, ANN, OwnSettings(muted=True, marked_unread=True)))
    settings = {"muted": True, "pinned": False, "archived": False, "markedUnread": True}
    assert stage.sio.take() == [
        Emitted("settings_changed", {"conversationId": C, "settings": settings}, (user_room(ANN),))
    ]


def test_who_looks_has_read() -> None:
    """A message is marked as read for those who look at the conversation on any socket, but not for its sender."""
    stage = Stage()
    stage.show("ann", ANN, visible=True)
    stage.show("bob-hidden", BOB, visible=False)
    stage.show("bob-visible", BOB, visible=True)
    stage.show("cat", CAT, visible=False)
    stage.fanout.receive(MessageCreated(CONVERSATION, MESSAGE, duplicate=False))
    assert stage.seen() == [Seen(C, BOB, 7)]


def test_conversation_created_to_all_participants() -> None:
    """A new conversation is told to all sockets of all participants, each once, with how they are shown."""
    stage = Stage()
    people = {ANN: Profile(ANN, "Ann", "https://example.com/a"), BOB: Profile(BOB), CAT: None}
    stage.fanout.receive(ConversationCreated(CONVERSATION, people))
    profiles = [
        {"userId": "ann", "name": "Ann", "avatar": "https://example.com/a"},
        {"userId": "bob"},
        {"userId": "cat", "known": False},
    ]
    assert stage.sio.take() == [
        Emitted(
            "conversation_created",
            {"conversation": protocol.dump_conversation(CONVERSATION), "profiles": profiles},
            (user_room(ANN), user_room(BOB), user_room(CAT)),
        )
    ]


def test_profiles_beside_a_new_conversation_are_bounded() -> None:
    """A conversation that names a thousand people with long addresses would end all of them as slow consumers."""
    stage = Stage(outbox_bytes=400)
    people: dict[UserId, Profile | None] = {user_id: Profile(user_id, "x" * 50) for user_id in (ANN, BOB, CAT)}
    stage.fanout.receive(ConversationCreated(CONVERSATION, people))
    (emitted,) = stage.sio.take()
    assert [profile["userId"] for profile in map(json.loads, map(orjson.dumps, emitted.data["profiles"]))] == ["ann"]


@pytest.mark.parametrize("sockets", [1, 2])
def test_a_profile_is_told_to_who_watches(sockets: int) -> None:
    """And to the user's own sockets, if one of them may not know it yet."""
    stage = Stage()
    for number in range(sockets):
        stage.connect(f"own{number}", ANN)
    stage.fanout.receive(ProfileChanged(Profile(ANN, "Ann")))
    rooms = (watch_room(ANN), user_room(ANN))[:sockets]
    assert stage.sio.take() == [Emitted("profile_changed", {"userId": "ann", "name": "Ann"}, rooms)]


@pytest.mark.parametrize(("small", "live"), [(3, True), (2, False), (0, True)])
def test_read_marks_are_live_in_small_conversations(small: int, live: bool) -> None:
    """A read mark goes to the reader's own sockets, and in a small conversation to all that joined; with 0 all are."""
    stage = Stage(small_conversation=small)
    assert stage.fanout.is_small(CONVERSATION) == live
    mark = ReadMark(BOB, 5, 9)
    stage.fanout.receive(MessagesRead(CONVERSATION, mark))
    rooms = (user_room(BOB), conversation_room(C)) if live else (user_room(BOB),)
    assert stage.sio.take() == [Emitted("messages_read", protocol.dump_messages_read(C, mark), rooms)]


def test_typing_to_all_but_the_one_who_types() -> None:
    """user_typing goes to the sockets that joined, except the one that types."""
    stage = Stage()
    stage.fanout.typing(C, ANN, True, sid="s1")
    assert stage.sio.take() == [
        Emitted("user_typing", protocol.dump_typing(C, ANN, True), (conversation_room(C),), "s1")
    ]


def test_presence_to_those_who_watch() -> None:
    """presence_changed goes to the sockets that watch the user."""
    stage = Stage()
    stage.fanout.presence(ANN, online=False, last_seen_ms=5)
    assert stage.sio.take() == [Emitted("presence_changed", protocol.dump_presence(ANN, False, 5), (watch_room(ANN),))]


def test_typing_is_not_shown_to_the_one_who_types_elsewhere() -> None:
    """A user's other socket was told of the typing on one, and never of its end on another."""
    stage = Stage()
    for sid in ("s1", "s2"):
        stage.show(sid, ANN, visible=True)
    stage.fanout.typing(C, ANN, True, sid="s1")
    (emitted,) = stage.sio.take()
    assert emitted.skip_sid == {"s1", "s2"}


def test_only_pages_that_show_it_are_asked() -> None:
    """Those sockets of the user are asked for a sign of life that show the conversation and are there still."""
    stage = Stage()
    for sid, user_id, visible in (
        ("shown", BOB, True),
        ("hidden", BOB, False),
        ("gone", BOB, True),
        ("cat", CAT, True),
    ):
        stage.show(sid, user_id, visible)
    stage.connect("elsewhere", BOB)
    stage.sio.unconnected.add("gone")
    stage.fanout.ask(Seen(C, BOB, 7))
    assert list(stage.sio.probed) == ["shown"]
    stage.sio.answer("shown")
    assert stage.auto_read.confirmed() == [Seen(C, BOB, 7)]


async def test_enter_and_leave() -> None:
    """A socket enters and leaves a room."""
    stage = Stage()
    connection = stage.connect("s", ANN)
    await stage.fanout.enter(connection, conversation_room(C))
    assert stage.sio.rooms == {conversation_room(C): {"s"}}
    await stage.fanout.leave(connection, conversation_room(C))
    assert stage.sio.rooms == {conversation_room(C): set()}
