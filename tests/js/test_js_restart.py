"""A server that is restarted or killed in the middle of a conversation: nothing acked is lost, and clients resume."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support import database as db
from support.node import TRANSPORTS, VERSIONS, Node, Transport, Version
from support.servers import ServerProcess, running, token
from support.stage import Person, Stage, next_key


@pytest.fixture
async def server(database: Path) -> AsyncIterator[ServerProcess]:
    async with running(database, messages_per_second=0) as server:
        yield server


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("version", VERSIONS)
async def test_killed_in_the_middle(server: ServerProcess, node: Node, version: Version, transport: Transport) -> None:
    """After kill -9 the clients come back by themselves, and who was away gets exactly what was missed."""
    stage = Stage(server, node, version=version, transport=transport)
    ana, ben = await stage.people("ana", "ben")
    chat = await before_the_stop(ana, ben)
    marks = ana.client.mark(), ben.client.mark()
    await server.kill()
    for person, mark in ((ana, marks[0]), (ben, marks[1])):
        await person.client.wait("disconnect", after=mark)
    await server.start()
    await after_the_start(server, chat, ana, ben, marks)


@pytest.mark.parametrize(
    ("version", "transport"),
    [("4.8", "websocket"), ("4.8", "polling"), ("4.8", "upgrade"), ("4.0", "upgrade"), ("3.1", "polling")],
)
async def test_restarted_in_the_middle(
    server: ServerProcess, node: Node, version: Version, transport: Transport
) -> None:
    """A server that stops in order says so to every client, and when to come back; they come back by themselves."""
    stage = Stage(server, node, version=version, transport=transport)
    ana, ben = await stage.people("ana", "ben")
    chat = await before_the_stop(ana, ben)
    marks = ana.client.mark(), ben.client.mark()
    assert await server.terminate() == 0
    for person, mark in ((ana, marks[0]), (ben, marks[1])):
        ended = await person.client.wait("session_ended", after=mark)
        assert (ended["code"], ended["reconnect"]) == ("restart", True)
        assert 2000 <= ended["retryAfterMs"] <= 6000
        await person.client.wait("disconnect", after=mark)
        assert (await person.client.state())["active"] is True
    await server.start()
    await after_the_start(server, chat, ana, ben, marks)


async def before_the_stop(ana: Person, ben: Person) -> str:
    """Three messages that both have, two that only Ana has: Ben left the conversation."""
    chat = await ana.create("ben")
    await ana.join(chat)
    await ben.join(chat)
    for number in (1, 2, 3):
        await (ana, ben)[number % 2].send(chat, f"{number}")
    await ben.client.wait_count("message_created", 3)
    await ben.client.ok("leave_conversation", {"conversationId": chat})
    for number in (4, 5):
        await ana.send(chat, f"{number}")
    await ana.client.wait_count("message_created", 5)
    return chat


async def after_the_start(server: ServerProcess, chat: str, ana: Person, ben: Person, marks: tuple[int, int]) -> None:
    """Both are back without help, the numbers go on, Ben gets 4, 5 and 6, Ana only 6, and then both are live."""
    await ana.client.wait("welcome", after=marks[0])
    await ben.client.wait("welcome", after=marks[1])
    missed = (await ben.send(chat, "6"))["message"]
    assert (missed["seq"], missed["change"]) == (6, 6)
    assert [message["body"] for message in (await ben.join(chat, after=3))["messages"]] == ["4", "5", "6"]
    assert (await ana.join(chat, after=5))["messages"] == [missed]
    await ana.send(chat, "7")
    for person, mark in ((ana, marks[0]), (ben, marks[1])):
        live = await person.client.wait("message_created", after=mark)
        assert (live["message"]["body"], live["message"]["seq"]) == ("7", 7)
    rows = db.messages(server.database)
    assert [row.body for row in rows] == [f"{number}" for number in range(1, 8)]
    assert (db.holes(rows), db.doubles(rows)) == ([], [])


async def test_what_is_emitted_while_the_server_is_away(server: ServerProcess, node: Node) -> None:
    """Messages written offline are sent by the client when the server is back, in order and once."""
    ana = await Stage(server, node).person("ana")
    chat = await ana.create("ben")
    await server.kill()
    await ana.client.wait("disconnect")
    sending = asyncio.create_task(
        ana.client.burst(
            [
                ["send_message", {"conversationId": chat, "idempotencyKey": next_key(), "body": f"offline {number}"}]
                for number in range(5)
            ],
            deadline_s=20,
        )
    )
    await server.start()
    acks, order = await sending
    assert [ack["message"]["seq"] for ack in acks] == [1, 2, 3, 4, 5]
    assert order == [0, 1, 2, 3, 4]
    assert [row.body for row in db.messages(server.database)] == [f"offline {number}" for number in range(5)]


async def test_a_client_that_gave_up_connects_again(server: ServerProcess, node: Node) -> None:
    """After the recommended three attempts the client tells the application so, and can be started anew."""
    stage = Stage(server, node)
    ana = await stage.person("ana", reconnectionAttempts=3)
    await server.kill()
    await ana.client.wait("reconnect_failed")
    assert ana.client.seen("reconnect_attempt") == [1, 2, 3]
    await server.start()
    mark = ana.client.mark()
    await ana.client.connect()
    await ana.client.wait("welcome", after=mark)


async def test_a_fresh_token_at_every_connect(server: ServerProcess, node: Node) -> None:
    """`auth` may be a function: each connect brings a token of its own, and an expired one is told from a bad one."""
    auths = [{"token": token("ana")}, {"token": token("ana", ahead_s=-7200)}, {"token": token("ana", name="Ana again")}]
    client = await node.open(server.url, auths=auths)
    assert (await client.wait("welcome"))["user"]["name"] == "ana"
    mark = client.mark()
    await client.close_engine()
    refused = await client.wait("connect_error", after=mark)
    assert (refused["data"]["code"], refused["active"]) == ("token_expired", False)
    await client.connect()
    assert (await client.wait("welcome", after=mark))["user"]["name"] == "Ana again"


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_the_retries_of_the_client_across_a_kill(server: ServerProcess, node: Node, transport: Transport) -> None:
    """With the client's own `retries` the application need do nothing: every message is stored once, in order."""
    stage = Stage(server, node, transport=transport)
    ana = await stage.person("ana", retries=100, ackTimeout=300)
    ben = await stage.person("ben")
    chat = await ana.create("ben")
    await ben.join(chat)
    bodies = [f"{number}" for number in range(60)]
    sending = asyncio.create_task(
        ana.client.burst(
            (["send_message", {"conversationId": chat, "idempotencyKey": f"r{body}", "body": body}] for body in bodies),
            deadline_s=30,
        )
    )
    await ben.client.wait_count("message_created", 5)
    await server.kill()
    await server.start()
    acks, order = await sending
    assert order == list(range(len(bodies)))
    assert [ack["message"]["seq"] for ack in acks] == list(range(1, len(bodies) + 1))
    assert [row.body for row in db.messages(server.database)] == bodies
