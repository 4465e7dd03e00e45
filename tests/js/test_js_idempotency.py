"""The same key is the same message: at once, from two sockets, and after a crash."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from support import database as db
from support.node import TRANSPORTS, Node, Transport
from support.servers import ServerProcess, running
from support.stage import Person, Stage


@pytest.fixture
async def server(database: Path) -> AsyncIterator[ServerProcess]:
    async with running(database, sockets_per_user=0) as server:
        yield server


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_the_same_key_many_times(server: ServerProcess, node: Node, transport: Transport) -> None:
    """Sent 20 times at once from two sockets, and again after kill -9: one row, one original, 39 repeats of it."""
    stage = Stage(server, node, transport=transport)
    first, second, ben = await stage.people("ana", "ana", "ben")
    chat = await first.create("ben")
    await ben.join(chat)
    payload = {"conversationId": chat, "idempotencyKey": "once", "body": "only once 🦄", "metadata": {"a": 1, "b": [2]}}

    async def send_from_both() -> list[dict[str, Any]]:
        halves = await asyncio.gather(
            *(person.client.burst([["send_message", payload]] * 10) for person in (first, second))
        )
        acks = [ack for half, _ in halves for ack in half]
        assert all(ack["ok"] for ack in acks), acks
        return acks

    acks = await send_from_both()
    original = acks[0]["message"]
    assert sum(ack["duplicate"] is False for ack in acks) == 1
    assert sum(ack["duplicate"] is True for ack in acks) == 19
    assert all(ack["message"] == original for ack in acks)
    assert await ben.client.wait("message_created") == {"message": original}

    await killed_and_back(server, first, second, ben)
    acks = await send_from_both()
    assert all(ack == {"ok": True, "message": original, "duplicate": True} for ack in acks)
    # The same content, written otherwise.
    ack = await first.send(chat, "only once 🦄", key="once", metadata={"b": [2], "a": 1})
    assert (ack["message"], ack["duplicate"]) == (original, True)
    (row,) = db.messages(server.database)
    assert (row.seq, row.change, row.id) == (1, 1, original["id"])

    for other in (
        {"body": "only once"},
        {"metadata": None},
        {"metadata": {"a": 1}},
        {"metadata": {"a": True, "b": [2]}},
    ):
        error = await second.client.refused("send_message", {**payload, **other})
        assert (error["code"], error["retryable"]) == ("idempotency_conflict", False)
    assert len(db.messages(server.database)) == 1
    # A refusal and a repeat cost no number, and the key is the sender's own.
    assert (await second.send(chat, "next", key="twice"))["message"]["seq"] == 2
    theirs = await ben.send(chat, "of my own", key="once")
    assert (theirs["message"]["seq"], theirs["duplicate"]) == (3, False)
    # It is also one of its conversation.
    other_chat = await first.create("ben", title="Another")
    assert (await first.send(other_chat, "only once 🦄", key="once"))["duplicate"] is False


async def test_the_same_group_many_times(server: ServerProcess, node: Node) -> None:
    """A group made 20 times at once with one key, and again after kill -9, is one group, announced once."""
    stage = Stage(server, node)
    first, second, ben = await stage.people("ana", "ana", "ben")
    payload = {"participantIds": ["ben", "carl"], "title": "Once", "idempotencyKey": "group"}

    async def create() -> list[dict[str, Any]]:
        halves = await asyncio.gather(
            *(person.client.burst([["create_conversation", payload]] * 10) for person in (first, second))
        )
        return [ack for half, _ in halves for ack in half]

    acks = await create()
    assert sum(ack["duplicate"] is False for ack in acks) == 1
    assert len({ack["conversation"]["id"] for ack in acks}) == 1
    await ben.settle()
    assert len(ben.client.seen("conversation_created")) == 1
    await killed_and_back(server, first, second, ben)
    again = await create()
    assert {ack["duplicate"] for ack in again} == {True}
    assert all(ack["conversation"] == acks[0]["conversation"] for ack in again)
    error = await first.client.refused("create_conversation", {**payload, "title": "Twice"})
    assert error["code"] == "idempotency_conflict"
    # A conversation without a key is always a new one, and one of two people always the same.
    keyless = {"participantIds": ["ben"], "title": "Many"}
    made, _ = await first.client.burst([["create_conversation", keyless]] * 3)
    assert len({ack["conversation"]["id"] for ack in made}) == 3
    direct, _ = await second.client.burst([["create_conversation", {"participantIds": ["ben"]}]] * 3)
    assert len({ack["conversation"]["id"] for ack in direct}) == 1


async def killed_and_back(server: ServerProcess, *people: Person) -> None:
    """kill -9 and a new start; everybody has come back by themselves."""
    marks = [person.client.mark() for person in people]
    await server.kill()
    await server.start()
    for person, mark in zip(people, marks, strict=True):
        await person.client.wait("welcome", after=mark)
