"""The server on MongoDB while its database is away: it stays up, says so at once, and recovers by itself."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from support.mongo import MongoServer, own_server, skip_or_fail
from support.servers import ServerProcess, running
from support.waiting import DEADLINE_S
from support.wire import Wire, wire_to

# How long the driver looks for its database; and what "at once" may take on a busy machine, which is less.
LOOKS_S = 5
AT_ONCE_S = 4


@pytest.fixture
def mongo() -> Iterator[MongoServer]:
    skip_or_fail(own=True)
    with own_server() as made:
        yield made


@contextlib.asynccontextmanager
async def on(mongo: MongoServer, path: Path, options: str = "") -> AsyncIterator[tuple[ServerProcess, Wire]]:
    url = f"{mongo.url}/chat{options}"
    async with running(path / "unused.db", store_url=url) as server, wire_to(server.url) as wire:
        yield server, wire


async def status(server: ServerProcess, path: str) -> tuple[int, dict[str, Any]]:
    async with aiohttp.ClientSession() as http, http.get(server.url + path) as answer:
        return answer.status, await answer.json()


async def until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    end_s = time.monotonic() + 3 * DEADLINE_S
    while not await condition():
        assert time.monotonic() < end_s, what
        await asyncio.sleep(0.05)


async def test_the_database_goes_and_comes_back(mongo: MongoServer, tmp_path: Path) -> None:
    """While it is away, sends are refused at once and typing goes on; a repeat afterwards is stored once."""
    async with on(mongo, tmp_path, f"?serverSelectionTimeoutMS={LOOKS_S * 1000}") as (server, wire):
        ann, bob = (await wire.person("ann")).client, (await wire.person("bob")).client
        created = await ann.ok("create_conversation", {"participantIds": ["bob"]})
        conversation = {"conversationId": created["conversation"]["id"]}
        for person in (ann, bob):
            await person.ok("join_conversation", conversation)
        first = {**conversation, "idempotencyKey": "1", "body": "before"}
        await ann.ok("send_message", first)
        assert (await status(server, "/readyz"))[0] == 200

        await asyncio.to_thread(mongo.stop)
        second = {**conversation, "idempotencyKey": "2", "body": "meanwhile"}
        error = await ann.refused("send_message", second, deadline_s=3 * DEADLINE_S)
        assert (error["code"], error["retryable"]) == ("store_unavailable", True)
        started_s = time.monotonic()
        await ann.refused("send_message", second)
        assert time.monotonic() - started_s < AT_ONCE_S
        code, answer = await status(server, "/readyz")
        assert (code, answer["error"]["code"]) == (503, "store_unavailable")
        assert (await status(server, "/healthz"))[0] == 200
        await ann.ok("set_typing", {**conversation, "typing": True})
        await bob.wait("user_typing")

        await asyncio.to_thread(mongo.start)

        async def is_ready() -> bool:
            return (await status(server, "/readyz"))[0] == 200

        await until(is_ready, "the server is ready again")
        mark = bob.mark()
        ack = await ann.ok("send_message", second)
        assert (await ann.ok("send_message", second))["message"] == ack["message"]
        await bob.wait("message_created", after=mark)
        joined = await bob.ok("join_conversation", conversation)
        assert [(message["seq"], message["body"]) for message in joined["messages"]] == [
            (1, "before"),
            (2, "meanwhile"),
        ]


async def test_the_database_is_absent_at_the_start(mongo: MongoServer, tmp_path: Path) -> None:
    """The server starts without it, refuses what needs it, and serves as soon as it is there."""
    await asyncio.to_thread(mongo.stop)
    async with on(mongo, tmp_path) as (server, wire):
        assert (await status(server, "/healthz"))[0] == 200
        assert (await status(server, "/readyz"))[0] == 503
        ann = (await wire.person("ann")).client
        error = await ann.refused("create_conversation", {"participantIds": ["bob"]})
        assert (error["code"], error["retryable"]) == ("store_unavailable", True)
        await asyncio.to_thread(mongo.start)

        async def works() -> bool:
            return bool((await ann.emit("create_conversation", {"participantIds": ["bob"]}))["ok"])

        await until(works, "the server has found the database")


async def test_two_servers_on_one_database_number_one_conversation(mongo: MongoServer, tmp_path: Path) -> None:
    """Clients of two servers send to one conversation: no hole, nothing twice, and each ack is the stored row."""
    lifted = {"messages_per_second": 0, "events_per_second": 0, "store_url": f"{mongo.url}/chat"}
    async with (
        running(tmp_path / "a.db", **lifted) as one,
        running(tmp_path / "b.db", **lifted) as two,
        wire_to(one.url) as to_one,
        wire_to(two.url) as to_two,
    ):
        ann, bob = (await to_one.person("ann")).client, (await to_two.person("bob")).client
        created = await ann.ok("create_conversation", {"participantIds": ["bob"]})
        conversation_id = created["conversation"]["id"]

        async def send(person: Any, body: str) -> tuple[int, str]:
            payload = {"conversationId": conversation_id, "idempotencyKey": body, "body": body}
            ack = await person.ok("send_message", payload, deadline_s=3 * DEADLINE_S)
            assert ack["duplicate"] is False
            return ack["message"]["seq"], body

        names = (("ann", ann), ("bob", bob))
        acked = await asyncio.gather(*(send(person, f"{name}-{n}") for n in range(40) for name, person in names))
        history = await bob.ok("fetch_history", {"conversationId": conversation_id, "limit": 200})
        stored = [(message["seq"], message["body"]) for message in history["messages"]]
        assert [seq for seq, _ in stored] == list(range(1, 81))
        assert sorted(acked) == stored
