"""Every event is acked, whatever is sent, and nothing that a client sends does what only the server may do."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from socketserver.chat.domain import MessageDraft, UserId
from socketserver.store.results import Appended, ConversationPage
from socketserver.store.sqlite.sqlite_store import SqliteStore
from typing import Any

import pytest
from support import database as db
from support.node import TRANSPORTS, VERSIONS, Node, Transport, Version
from support.peer import NoAck
from support.servers import LocalServer, serving, token
from support.stage import Stage, next_key
from support.waiting import eventually


@pytest.fixture
async def server(database: Path) -> AsyncIterator[LocalServer]:
    async with serving(database) as server:
        yield server


@pytest.fixture
def stage(server: LocalServer, node: Node) -> Stage:
    return Stage(server, node)


# Events that do not exist

UNKNOWN = ["no_such_event", "", "*", "message", "guard", "__class__", "constructor", "send_message ", "x" * 5000, "💥"]


@pytest.mark.parametrize("arguments", [[], [{}], [{"a": 1}, 2, None]], ids=["none", "one", "three"])
async def test_an_unknown_event_is_acked(stage: Stage, arguments: list[Any]) -> None:
    """Whatever its name and arguments, also the name under which the library keeps the handler of unknown events."""
    ana = await stage.person("ana")
    for event in UNKNOWN:
        error = await ana.client.refused(event, *arguments)
        assert (error["code"], error["retryable"]) == ("unknown_event", False), event
        assert len(error["message"]) < 200
    await ana.settle()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_unknown_events_by_every_client(
    server: LocalServer, node: Node, version: Version, transport: Transport
) -> None:
    """An event of a later version of the protocol is refused, and the connection goes on."""
    ana = await Stage(server, node, version=version, transport=transport).person("ana")
    assert (await ana.client.refused("pin_message", {"seq": 1}))["code"] == "unknown_event"
    assert (await ana.client.refused("pin_message"))["code"] == "unknown_event"
    await ana.settle()


@pytest.mark.parametrize(
    "packet",
    [
        '2%ID%["connect",{"REMOTE_ADDR":"::1"},{"token":"TOKEN"}]',
        '2%ID%["connect"]',
        '2%ID%["connect",null]',
        '2%ID%["disconnect","transport close"]',
        '2%ID%["disconnect"]',
        '2%ID%["disconnecting","x"]',
        '2%ID%["connect_error",{}]',
        '2%ID%["*","SID",{}]',
        '2%ID%["*"]',
        '2%ID%["welcome",{"user":{"id":"ben"}}]',
        '2%ID%["session_ended",{}]',
    ],
)
async def test_forged_lifecycle_events(server: LocalServer, stage: Stage, packet: str) -> None:
    """Names that only the library or the server may use change nobody's state: at most the forger is disconnected."""
    ana, ben = await stage.people("ana", "ben")
    chat = await ben.create("ana")
    for person in (ana, ben):
        await person.join(chat)
    sids = {user: [c.sid for c in server.sessions.of_user(UserId(user))] for user in ("ana", "ben")}
    victim = sids["ben"][0]
    with contextlib.suppress(NoAck):
        ack = await ana.client.raw(packet.replace("TOKEN", token("ben")).replace("SID", victim))
        assert ack["ok"] is False
    after = {user: [c.sid for c in server.sessions.of_user(UserId(user))] for user in ("ana", "ben")}
    if after == sids:
        assert (await ana.send(chat, "still me"))["message"]["senderId"] == "ana"
    else:
        await ana.client.wait("disconnect")
    assert after["ben"] == sids["ben"]
    for user, was in sids.items():  # nobody's socket has become another's
        assert not set(was) & {sid for other, now in after.items() if other != user for sid in now}
    assert (await ben.send(chat, "still here"))["message"]["senderId"] == "ben"
    assert ben.client.seen("disconnect") == []
    assert ben.client.seen("session_ended") == []


async def test_events_without_an_ack(stage: Stage, server: LocalServer) -> None:
    """A client that asks for no ack is served all the same; its mistakes disturb nobody."""
    ana = await stage.person("ana")
    chat = await ana.create("ben")
    await ana.client.forget("send_message", {"conversationId": chat, "idempotencyKey": "quiet", "body": "no ack"})
    await ana.client.forget("send_message", {"conversationId": chat})
    await ana.client.forget("no_such_event", 1, 2)
    await ana.client.forget("list_conversations")
    await ana.settle()
    assert [row.body for row in db.messages(server.database)] == ["no ack"]


# A bug in a handler


class BrokenStore(SqliteStore):
    """Has a bug."""

    async def list_conversations(self, user_id: UserId, **options: Any) -> ConversationPage:
        raise RuntimeError("injected, with a secret in it")


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_bug_in_a_handler(database: Path, node: Node, transport: Transport) -> None:
    """The client gets internal_error, the log the traceback, and the socket goes on."""
    async with serving(database, store=BrokenStore(str(database))) as server:
        ana = await Stage(server, node, transport=transport).person("ana")
        error = await ana.client.refused("list_conversations", {})
        assert (error["code"], error["retryable"]) == ("internal_error", False)
        assert "injected" not in json.dumps(error)
        chat = await ana.create("ben")
        await ana.send(chat, "goes on")
        (logged,) = server.errors
        assert "RuntimeError: injected" in logged
        server.errors.clear()


# Rates


async def test_the_message_rate(database: Path, node: Node) -> None:
    """Over the rate a message is refused with the time to wait, stored after it, and nobody else is slowed."""
    async with serving(database, messages_per_second=2, messages_burst=3) as server:
        stage = Stage(server, node)
        ana, ben = await stage.people("ana", "ben")
        server.clock.hold()
        chat = await ana.create("ben")
        acks, order = await ana.client.burst(
            ["send_message", {"conversationId": chat, "idempotencyKey": f"k{n}", "body": f"{n}"}] for n in range(6)
        )
        assert [ack["ok"] for ack in acks] == [True, True, True, False, False, False]
        assert order == list(range(6))
        for ack in acks[3:]:
            error = ack["error"]
            assert (error["code"], error["retryable"]) == ("rate_limited", True)
            assert 0 < error["retryAfterMs"] <= 501
        await ben.send(chat, "not slowed")
        server.clock.advance(acks[3]["error"]["retryAfterMs"] / 1000)
        assert (await ana.send(chat, "0", key="k0"))["duplicate"] is True  # which costs nothing
        assert (await ana.send(chat, "3", key="k3"))["duplicate"] is False
        error = await ana.client.refused("send_message", {"conversationId": chat, "idempotencyKey": "k4", "body": "4"})
        assert error["code"] == "rate_limited"
        await ana.settle()  # other events are not limited by it
        assert [row.body for row in db.messages(database)] == ["0", "1", "2", "not slowed", "3"]


# The client's own retries


class SlowStore(SqliteStore):
    """Holds appends back until told."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.go_on = asyncio.Event()
        self.calls = 0

    async def append_message(self, draft: MessageDraft) -> Appended:
        self.calls += 1
        if self.calls == 1:
            await self.go_on.wait()
        return await super().append_message(draft)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_the_retries_of_the_client(database: Path, node: Node, transport: Transport) -> None:
    """A client that sends again because the ack was late gets its ack, and the message is stored once, in order."""
    store = SlowStore(str(database))
    async with serving(database, store=store) as server:
        stage = Stage(server, node, transport=transport)
        ana = await stage.person("ana", retries=100, ackTimeout=200)
        ben = await stage.person("ben")
        chat = await ben.create("ana")
        sending = asyncio.create_task(
            ana.client.burst(
                ["send_message", {"conversationId": chat, "idempotencyKey": f"r{n}", "body": f"{n}"}] for n in range(5)
            )
        )
        await eventually("the first try is under way", lambda: store.calls == 1)
        # The client's second try waits behind the first, as everything of one client does.
        for _ in range(3):
            await ben.settle()
        server.clock.advance(1)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(sending), 0.5)
        assert not sending.done()
        store.go_on.set()
        acks, order = await sending
        assert order == list(range(5))
        assert all(ack["ok"] for ack in acks)
        assert [ack["message"]["seq"] for ack in acks] == [1, 2, 3, 4, 5]
        await eventually("every try was answered", lambda: store.calls >= 6)
        await ana.settle()
        assert [row.body for row in db.messages(database)] == ["0", "1", "2", "3", "4"]


# Strangers


async def test_a_stranger_cannot_tell_what_exists(stage: Stage, server: LocalServer) -> None:
    """For a stranger, a conversation that exists and one that does not give the same answers, to the byte."""
    ana, ben, eve = await stage.people("ana", "ben", "eve")
    real = await ana.create("ben")
    await ana.join(real)
    await ben.join(real)
    await ana.send(real, "secret", key="known")
    await ben.settle()
    mark, before = len(ana.client.log), db.dump(server.database)
    missing = "".join(reversed(real))
    payloads: list[tuple[str, dict[str, Any]]] = [
        ("join_conversation", {}),
        ("join_conversation", {"after": 0, "limit": 1, "visible": True}),
        ("leave_conversation", {}),
        ("send_message", {"idempotencyKey": "known", "body": "secret"}),
        ("send_message", {"idempotencyKey": next_key(), "body": "let me in", "metadata": {"a": 1}}),
        ("mark_read", {"seq": 1}),
        ("fetch_history", {}),
        ("fetch_history", {"afterSeq": 0}),
        ("list_participants", {}),
        ("list_participants", {"after": "a", "limit": 1}),
        ("set_typing", {"typing": True}),
        ("set_typing", {"typing": False}),
        ("set_visibility", {"visible": True}),
    ]
    for event, more in payloads:
        answers = [
            json.dumps(await eve.client.emit(event, {"conversationId": chat, **more}), ensure_ascii=False)
            for chat in (real, missing, "no-id-at-all", real.upper())
        ]
        assert json.loads(answers[0])["error"]["code"] == "conversation_not_found", event
        assert set(answers) == {answers[0]}, event
    page = await eve.client.ok("list_conversations", {"before": f"{10**15 - 1}:{real}"})
    assert (page["conversations"], page["presence"]) == ([], [])
    await ana.settle()
    await eve.settle()
    assert db.dump(server.database) == before
    assert len(ana.client.log) == mark
    assert [seen.event for seen in eve.client.log] == ["connect", "welcome"]


async def test_rate_limits_do_not_tell_either(database: Path, node: Node) -> None:
    """A stranger who floods gets the same answers for a conversation that exists."""
    async with serving(database, messages_per_second=1, messages_burst=1) as server:
        stage = Stage(server, node)
        ana, eve = await stage.people("ana", "eve")
        real = await ana.create("ben")
        for chat in (real, "missing"):
            acks, _ = await eve.client.burst(
                ["send_message", {"conversationId": chat, "idempotencyKey": f"k{n}", "body": "x"}] for n in range(5)
            )
            assert {ack["error"]["code"] for ack in acks} == {"conversation_not_found"}


async def test_a_direct_conversation_is_found_by_both_only(stage: Stage) -> None:
    """Creating it again gives the same one to its two people; a third one's is another."""
    ana, ben, eve = await stage.people("ana", "ben", "eve")
    chat = await ana.create("ben")
    assert await ben.create("ana") == chat
    ack = await ana.client.ok("create_conversation", {"participantIds": ["ben", "ana", "ben"]})
    assert (ack["conversation"]["id"], ack["duplicate"]) == (chat, True)
    assert await eve.create("ben") != chat
    assert len(ben.client.seen("conversation_created")) <= 2
