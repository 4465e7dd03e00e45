"""The chat when its store is in trouble, slow or out of order, and when clients leave in the middle of something."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from socketserver.chat.domain import Conversation, ConversationDraft, ConversationId, MessageDraft, UserId
from socketserver.chat.identity import Identity
from socketserver.door.auth import Authenticator
from socketserver.errors import ChatError, Overloaded, StoreUnavailable
from socketserver.store.results import (
    Appended,
    ConversationPage,
    Created,
    MessagePage,
    ReadAdvance,
    ReadMarkPage,
    Snapshot,
)
from socketserver.store.sqlite.sqlite_store import SqliteStore
from typing import Any

import pytest
from support import database as db
from support.servers import LocalServer, serving, token
from support.waiting import eventually
from support.wire import Wire, wire_to


class TroubledStore(SqliteStore):
    """A store whose calls a test lets fail, before or after the write, and whose appends it holds back.

    Attributes:
        trouble: what every call raises instead of doing anything.
        after: what a writing call raises after it has written: the caller cannot know.
        appending: appends that are under way.
        held: bodies → the event for which the append of such a message waits, after it was stored.
        reading: the event for which reads of conversations wait, and how many do.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.trouble: ChatError | None = None
        self.after: ChatError | None = None
        self.appending = 0
        self.held: dict[str, asyncio.Event] = {}
        self.reading: asyncio.Event | None = None
        self.readers = 0

    def _before(self) -> None:
        if self.trouble is not None:
            raise self.trouble

    async def _hold(self) -> None:
        if self.reading is not None:
            self.readers += 1
            await self.reading.wait()

    def _written(self) -> None:
        if self.after is not None:
            raise self.after

    async def create_conversation(self, draft: ConversationDraft) -> Created:
        self._before()
        created = await super().create_conversation(draft)
        self._written()
        return created

    async def get_conversation(self, conversation_id: ConversationId) -> Conversation | None:
        self._before()
        return await super().get_conversation(conversation_id)

    async def get_snapshot(self, conversation_id: ConversationId, **options: Any) -> Snapshot | None:
        self._before()
        await self._hold()
        return await super().get_snapshot(conversation_id, **options)

    async def list_conversations(self, user_id: UserId, **options: Any) -> ConversationPage:
        self._before()
        await self._hold()
        return await super().list_conversations(user_id, **options)

    async def list_read_marks(self, conversation_id: ConversationId, **options: Any) -> ReadMarkPage:
        self._before()
        return await super().list_read_marks(conversation_id, **options)

    async def append_message(self, draft: MessageDraft) -> Appended:
        self._before()
        self.appending += 1
        try:
            appended = await super().append_message(draft)
            if (held := self.held.get(draft.body)) is not None:
                await held.wait()
        finally:
            self.appending -= 1
        self._written()
        return appended

    async def list_messages(
        self,
        conversation_id: ConversationId,
        *,
        before_seq: int | None = None,
        after_seq: int | None = None,
        limit: int,
    ) -> MessagePage:
        self._before()
        return await super().list_messages(conversation_id, before_seq=before_seq, after_seq=after_seq, limit=limit)

    async def advance_read(self, conversation_id: ConversationId, user_id: UserId, seq: int, at_ms: int) -> ReadAdvance:
        self._before()
        return await super().advance_read(conversation_id, user_id, seq, at_ms)


@pytest.fixture
def store(tmp_path: Path) -> TroubledStore:
    return TroubledStore(str(tmp_path / "chat.db"))


@pytest.fixture
async def server(tmp_path: Path, store: TroubledStore) -> AsyncIterator[LocalServer]:
    async with serving(tmp_path / "chat.db", store=store, messages_per_second=0) as server:
        yield server


@pytest.fixture
async def wire(server: LocalServer) -> AsyncIterator[Wire]:
    async with wire_to(server.url) as wire:
        yield wire


@pytest.mark.parametrize("trouble", [StoreUnavailable(), Overloaded(retry_after_ms=250)], ids=lambda error: error.code)
async def test_every_event_while_the_store_is_away(
    wire: Wire, server: LocalServer, store: TroubledStore, trouble: ChatError
) -> None:
    """Each event that needs the store is refused as retryable, nothing is half done, and all is well afterwards."""
    ana, ben = await wire.people("ana", "ben")
    chat = await ana.create("ben")
    other = await ana.create("ben", title="Not joined")
    await ana.join(chat)
    await ben.join(chat)
    await ana.send(chat, "before", key="before")
    await ben.client.wait("message_created")
    rows = db.dump(server.database)
    store.trouble = trouble
    where = {"conversationId": chat}
    events: list[tuple[str, dict[str, Any]]] = [
        ("create_conversation", {"participantIds": ["carl"]}),
        ("list_conversations", {}),
        ("join_conversation", {**where, "visible": True}),
        ("join_conversation", {"conversationId": other}),
        ("send_message", {**where, "idempotencyKey": "k", "body": "b"}),
        ("mark_read", {**where, "seq": 1}),
        ("fetch_history", where),
        ("list_participants", where),
        ("set_visibility", {**where, "visible": True}),
    ]
    for event, payload in events:
        error = await ben.client.refused(event, payload)
        assert (error["code"], error["retryable"]) == (trouble.code, True), event
        assert error.get("retryAfterMs") == trouble.retry_after_ms
    assert db.dump(server.database) == rows
    store.trouble = None
    mark = ana.client.mark()
    for event, payload in events:
        await ben.client.ok(event, payload)
    assert (await ana.client.wait("message_created", after=mark))["message"]["seq"] == 2
    # The join that failed left nothing behind: its conversation's messages come once.
    await ana.send(other, "to those who joined")
    await ben.client.wait("message_created", lambda event: event["message"]["conversationId"] == other)
    await ben.settle()
    assert ben.client.seen("conversation_activity") == []


async def test_a_failed_join_leaves_the_room(wire: Wire, store: TroubledStore, server: LocalServer) -> None:
    """A join that was refused does not let messages through: the client was told that it has not joined."""
    ana, ben = await wire.people("ana", "ben")
    chat = await ana.create("ben")
    store.trouble = StoreUnavailable()
    await ben.client.refused("join_conversation", {"conversationId": chat})
    store.trouble = None
    await ana.send(chat, "elsewhere")
    await ben.client.wait("conversation_activity")
    await ben.settle()
    assert ben.client.seen("message_created") == []
    assert (await ben.client.refused("set_typing", {"conversationId": chat, "typing": True}))["code"] == "not_joined"


async def test_an_answer_lost_after_the_write(wire: Wire, store: TroubledStore, server: LocalServer) -> None:
    """The store fails after it has written: the sender tries again with the same key, and there is one message."""
    ana, ben = await wire.people("ana", "ben")
    chat = await ana.create("ben")
    await ben.join(chat)
    store.after = StoreUnavailable()
    payload = {"conversationId": chat, "idempotencyKey": "k", "body": "once"}
    assert (await ana.client.refused("send_message", payload))["code"] == "store_unavailable"
    store.after = None
    ack = await ana.client.ok("send_message", payload)
    assert (ack["duplicate"], ack["message"]["seq"]) == (True, 1)
    assert (await ben.client.wait("message_created"))["message"] == ack["message"]
    assert len(db.messages(server.database)) == 1


async def test_announcements_follow_the_numbers(wire: Wire, store: TroubledStore) -> None:
    """Appends that return out of order are announced in order: 2 waits for 1."""
    ana, ben, carl = await wire.people("ana", "ben", "carl")
    chat = await ana.create("ben", "carl")
    await carl.join(chat)
    store.held["first"] = asyncio.Event()
    first = asyncio.create_task(ana.send(chat, "first"))
    await eventually("the first is under way", lambda: store.appending == 1)
    assert (await ben.send(chat, "second"))["message"]["seq"] == 2
    await carl.settle()
    assert carl.client.seen("message_created") == []
    store.held["first"].set()
    assert (await first)["message"]["seq"] == 1
    seen = await carl.client.wait_count("message_created", 2)
    assert [event["message"]["seq"] for event in seen] == [1, 2]


async def test_a_sender_that_left_before_the_ack(wire: Wire, store: TroubledStore, server: LocalServer) -> None:
    """A message that was stored is announced although its sender is gone, and holds nobody else's up."""
    ana, ben = await wire.people("ana", "ben")
    chat = await ana.create("ben")
    await ben.join(chat)
    store.held["last words"] = asyncio.Event()
    await ana.client.start("send_message", {"conversationId": chat, "idempotencyKey": "k", "body": "last words"})
    await eventually("it is under way", lambda: store.appending == 1)
    ana.client.abort()
    store.held["last words"].set()
    assert (await ben.client.wait("message_created"))["message"]["body"] == "last words"
    await eventually("the sender is gone", lambda: len(server.sessions) == 1)
    assert (await ben.send(chat, "after"))["message"]["seq"] == 2
    await ben.client.wait("message_created", lambda event: event["message"]["seq"] == 2)


async def test_a_slow_client_of_its_own_making(wire: Wire, store: TroubledStore) -> None:
    """Somebody whose message takes long holds up only the own events, in their order, and nobody else's."""
    ana, ben = await wire.people("ana", "ben")
    chat = await ana.create("ben")
    store.held["slow"] = asyncio.Event()
    acks = [
        await ana.client.start("send_message", {"conversationId": chat, "idempotencyKey": "1", "body": "slow"}),
        await ana.client.start("list_conversations", {}),
    ]
    await eventually("it is under way", lambda: store.appending == 1)
    await ben.settle()
    assert [ack.done() for ack in acks] == [False, False]
    store.held["slow"].set()
    (summary,) = (await acks[1])["conversations"]
    assert summary["lastSeq"] == 1
    assert (await acks[0])["ok"] is True


async def test_automatic_read_marks_survive_a_store_in_trouble(
    wire: Wire, store: TroubledStore, server: LocalServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A mark that could not be written is lost without harm, and the next sight of a message writes it."""
    ana, ben = await wire.people("ana", "ben")
    server.clock.hold()
    chat = await ana.create("ben")
    await ana.join(chat)
    await ben.join(chat, visible=True)
    await ana.send(chat, "one")
    store.trouble = StoreUnavailable()
    server.clock.advance(1)
    await eventually("the log says so", lambda: "read mark was not written" in caplog.text)
    store.trouble = None
    await ana.send(chat, "two")
    server.clock.advance(1)
    assert (await ana.client.wait("messages_read"))["readSeq"] == 2


async def test_a_stop_in_the_middle_of_a_message(tmp_path: Path) -> None:
    """What was being stored when the server stopped is stored, wholly, and there after the start."""
    path = tmp_path / "chat.db"
    async with serving(path) as server, wire_to(server.url) as wire:
        ana = await wire.person("ana")
        chat = await ana.create("ben")
        acks = [
            await ana.client.start("send_message", {"conversationId": chat, "idempotencyKey": f"{n}", "body": f"{n}"})
            for n in range(10)
        ]
        await acks[0]
    rows = db.messages(path)
    acked = [ack.result()["message"]["seq"] for ack in acks if ack.done() and ack.exception() is None]
    assert {row.seq for row in rows} >= set(acked)
    assert db.holes(rows) == []
    async with serving(path) as server, wire_to(server.url) as wire:
        ana = await wire.person("ana")
        joined = await ana.join(chat)
        assert [message["seq"] for message in joined["messages"]] == [row.seq for row in rows]


@pytest.mark.parametrize("how", ["handshake", "event"])
async def test_a_dead_socket_does_not_replace_a_living_one(
    wire: Wire, server: LocalServer, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """A socket that was gone before its token had been checked got the user, and the user's living one was ended."""
    checking, go_on = asyncio.Event(), asyncio.Event()
    from_token = Authenticator.from_token

    async def slow(self: Authenticator, given: str) -> Identity:
        if not checking.is_set():
            checking.set()
            await go_on.wait()
        return await from_token(self, given)

    monkeypatch.setattr(Authenticator, "from_token", slow)
    if how == "handshake":
        dead = await wire.open({"token": token("ana")})
    else:
        dead = await wire.open()
        await dead.start("authenticate", {"token": token("ana")})
    await checking.wait()
    dead.abort()
    await dead.wait("disconnect")
    ana = await wire.person("ana")
    ben = await wire.person("ben")
    go_on.set()
    await eventually("the dead one is gone", lambda: len(server.sessions) == 2)
    await ana.settle()
    await ben.settle()
    assert ana.client.seen("session_ended") == []
    (own,) = server.sessions.of_user(UserId("ana"))
    assert own.sid == ana.client.seen("connect")[0]


@pytest.mark.parametrize("event", ["join_conversation", "list_conversations"])
@pytest.mark.parametrize("how", ["cut", "replaced"])
async def test_a_socket_that_ends_while_it_is_answered(
    wire: Wire, store: TroubledStore, server: LocalServer, event: str, how: str
) -> None:
    """A client that goes, or is replaced, during a slow request leaves no trace: no error, no room, no watching."""
    ana, ben = await wire.people("ana", "ben")
    chat = await ana.create("ben")
    store.reading = asyncio.Event()
    await ana.client.start(event, {"conversationId": chat} if event == "join_conversation" else {})
    await eventually("it is being answered", lambda: store.readers == 1)
    if how == "cut":
        ana.client.abort()
        await ana.client.wait("disconnect")
        store.reading.set()
        await eventually("it is gone", lambda: len(server.sessions) == 1)
    else:
        again = await wire.person("ana")
        await ana.client.wait("session_ended")
        store.reading.set()
        await eventually("it is gone", lambda: len(server.sessions) == 2)
        await again.settle()
    await ben.send(chat, "to nobody else")
    await ben.settle()
    assert ana.client.seen("message_created") == []
    rooms = server.sio.manager.namespaces["/"].rooms
    assert f"c:{chat}" not in rooms
    assert {client.sid for members in rooms.values() for client in members} == {c.sid for c in server.sessions}
